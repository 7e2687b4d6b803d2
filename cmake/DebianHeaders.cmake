# find_debian_headers(VARIABLE header package hint): the folder that holds `header` in the cache variable VARIABLE. It is the
# system's, the one that the user set, or that of Debian's package, fetched and unpacked below the build folder without root.
function(find_debian_headers variable header package hint)
  find_path(${variable} ${header} DOC "Folder that holds ${header}")
  if(${variable})
    return()
  endif()
  set(fetched ${CMAKE_BINARY_DIR}/${package})
  file(MAKE_DIRECTORY ${fetched})
  execute_process(COMMAND apt-get download ${package} WORKING_DIRECTORY ${fetched} RESULT_VARIABLE failed ERROR_VARIABLE why)
  file(GLOB archive ${fetched}/${package}_*.deb)
  if(failed OR NOT archive)
    message(FATAL_ERROR "${header} was not found and could not be fetched: ${why}\n"
      "Install ${package}${hint}, or set ${variable} to the folder that holds ${header}.")
  endif()
  execute_process(COMMAND dpkg -x ${archive} ${fetched} COMMAND_ERROR_IS_FATAL ANY)
  set(${variable} ${fetched}/usr/include CACHE PATH "Folder that holds ${header}" FORCE)
endfunction()
