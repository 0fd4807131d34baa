#define ENFOLD_ISA baseline
#include "isa.h"
