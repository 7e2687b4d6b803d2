#pragma once

#define FFC_VERSION_MAJOR 0
#define FFC_VERSION_MINOR 1
#define FFC_VERSION_PATCH 0
#define FFC_VERSION "0.1.0"
