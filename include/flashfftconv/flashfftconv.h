// Long and short convolutions of rows: everything a user includes.
#pragma once

#include "flashfftconv/execute.h"
#include "flashfftconv/plan.h"
#include "flashfftconv/short_conv.h"
#include "flashfftconv/status.h"
#include "flashfftconv/types.h"
#include "flashfftconv/version.h"
