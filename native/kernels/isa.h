// The body of each translation unit: all operations, compiled with that unit's flags into its own namespace and table.
// ENFOLD_ISA names both.
#pragma once

#include "attention.h"
#include "attention_packed.h"
#include "linear.h"
#include "linear_int8.h"
#include "recurrent.h"
#include "rows.h"

#define ENFOLD_TABLE_(isa) isa##_table
#define ENFOLD_TABLE(isa) ENFOLD_TABLE_(isa)
#define ENFOLD_NAME_(isa) #isa
#define ENFOLD_NAME(isa) ENFOLD_NAME_(isa)

namespace enfold::kernels {

extern const Table ENFOLD_TABLE(ENFOLD_ISA) = {
    ENFOLD_NAME(ENFOLD_ISA),   ENFOLD_ISA::linear, ENFOLD_ISA::linear_int8, ENFOLD_ISA::attend_decode,
    ENFOLD_ISA::attend_packed, ENFOLD_ISA::add,    ENFOLD_ISA::rms_norm,    ENFOLD_ISA::layer_norm,
    ENFOLD_ISA::gated,         ENFOLD_ISA::rope_store, ENFOLD_ISA::selective_scan,
};

}  // namespace enfold::kernels
