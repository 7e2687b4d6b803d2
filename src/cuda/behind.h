// Where a part of the caller's memory begins.
#pragma once

#include <cstdint>
#include <type_traits>

#include "flashfftconv/types.h"

namespace ffc::cuda {

/// What begins so many elements behind `view`, a pointer `data` with strides. Null, which is absent, stays null:
/// nothing lies behind it, and an offset to it is undefined.
template <class View>
View behind(View view, DType dtype, std::int64_t elements) {
  using Byte = std::conditional_t<std::is_const_v<std::remove_pointer_t<decltype(view.data)>>, const char, char>;
  if (view.data) view.data = static_cast<Byte*>(view.data) + elements * static_cast<std::int64_t>(size_of(dtype));
  return view;
}

}  // namespace ffc::cuda
