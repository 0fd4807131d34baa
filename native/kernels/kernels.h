#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

// CPU kernels for small batches of rows. Each operation is one struct of pointers and sizes; a `Table` holds one build
// of all operations, compiled for one instruction set, and `table()` is the best one that this processor runs.
// Strides count elements. All pointers may be unaligned (weights are often memory-mapped).
namespace enfold::kernels {

enum class Type : int { f32 = 0, bf16 = 1, f16 = 2 };

enum class Activation : int { none = 0, silu = 1, gelu = 2, gelu_tanh = 3, relu = 4 };

struct bf16 {
  uint16_t bits;
};
struct f16 {
  uint16_t bits;
};

// out [M, N] = act(x [M, K] · weight [N, K]ᵀ + bias [N]), products summed in fp32.
struct Linear {
  const void *x;
  int64_t x_row;
  const void *weight;
  const void *bias;  // may be null
  void *out;
  int64_t M, N, K;
  Activation activation;
  Type type;
  int threads;
};

// The same with a weight of bytes and a scale for each output (layout: linear_int8.h); rows become bytes as they come.
struct LinearInt8 {
  const void *x;
  int64_t x_row;
  const uint8_t *weight;
  const float *scale;  // [N]
  const void *bias;    // [N] of `type`; may be null
  void *out;
  int64_t M, N, K;
  Activation activation;
  Type type;
  int threads;
};

// One query a sequence over the first `lengths[b]` keys of its cache.
struct AttendDecode {
  const void *q;  // [B, H, d]
  int64_t q_row, q_head;
  const void *k;  // [B, Hkv, capacity, d]
  int64_t k_batch, k_head, k_slot;
  const void *v;
  int64_t v_batch, v_head, v_slot;
  const int64_t *lengths;  // [B]
  const int64_t *starts;   // [B], first visible key; may be null
  const float *bias;       // [B, H, ≥ length], added to the scaled scores; may be null
  int64_t bias_batch, bias_head;
  const float *sinks;  // [H], a further score of each head, whose value is zero; may be null
  void *out;           // [B, H, d], contiguous
  int64_t B, H, Hkv, d;
  float scale, softcap;  // softcap 0: none
  Type type;
  int threads;
};

// Attention of the sequences that lie one after another in the rows of q: over their own rows of k and v, or over a
// cache, where the queries of a sequence are the last of its keys.
struct AttendPacked {
  const void *q;  // [N, H, d]
  int64_t q_row, q_head;
  const void *k;  // [N, Hkv, d] or a cache [B, capacity, Hkv, d], by its strides
  int64_t k_batch, k_row, k_head;
  const void *v;
  int64_t v_batch, v_row, v_head;
  const int64_t *offsets;  // [B + 1], rows of the sequences
  const int64_t *lengths;  // [B], keys of each sequence in a cache; null: as many as rows
  const float *bias;       // added to the scaled scores: of key j and query p at j + p · bias_row; may be null
  int64_t bias_head, bias_row;  // row -1: by distance; 0: by the key's place
  void *out;  // [N, H, d], contiguous
  int64_t B, H, Hkv, d;
  bool causal;
  int64_t window;      // a query sees itself and window - 1 keys on each side; 0: all
  const float *sinks;  // [H], a further score of each head, whose value is zero; may be null
  float scale, softcap;  // softcap 0: none
  Type type;
  int threads;
};

// out = x + y, element by element
struct Add {
  const void *x, *y;
  void *out;
  int64_t count;
  Type type;
  int threads;
};

struct Norm {
  const void *x;         // [M, D], contiguous
  const void *residual;  // [M, D], layer norm only: the sum x + residual is normalised; may be null
  const void *weight;    // [D]
  const void *bias;      // [D], layer norm only; may be null
  void *out;             // [M, D], contiguous; not x or residual
  int64_t M, D;
  float eps;
  Type type;
  int threads;
};

// out [M, F] = act(x[:, :F]) · x[:, F:]
struct Gated {
  const void *x;  // [M, 2F]
  int64_t x_row;
  void *out;
  int64_t M, F;
  Activation activation;
  Type type;
  int threads;
};

// Rotates q and k out of a fused projection; q goes to `q_out`, k and v into the cache.
struct RopeStore {
  const void *qkv;  // [M, (H + 2 Hkv) · d]
  int64_t row;
  const void *cos, *sin;  // [P, R]; null when R is 0
  int64_t cos_row, sin_row;
  bool table_f32;            // the table is fp32 whatever `type` is
  bool neighbours;           // element 2i turns with 2i + 1, not i with i + R / 2
  const int64_t *positions;  // [M], row of the table; null: row m
  const int64_t *slots;      // [M], place in the cache
  const int64_t *sequences;  // [M]; null: m
  void *q_out;               // [M, H, d], contiguous
  void *k;                   // [B, Hkv, capacity, d]
  int64_t k_batch, k_head, k_slot;
  void *v;
  int64_t v_batch, v_head, v_slot;
  int64_t M, H, Hkv, d, R;
  Type type;
  int threads;
};

// h = exp(step · decay) · h + step · u · into and y = Σ h · from, along each sequence, for each of C channels that
// remember S numbers (Gu & Dao 2023, algorithm 2). All of it fp32.
struct SelectiveScan {
  const float *step, *u;     // [N, C], contiguous
  const float *into, *from;  // [N, S]
  int64_t into_row, from_row;
  const float *decay;        // [C, S], contiguous
  const int64_t *offsets;    // [B + 1], rows of the sequences
  float *state;              // [B, C, S], contiguous: before the first row, then behind the last
  float *out;                // [N, C], contiguous
  int64_t B, C, S;
  int threads;
};

struct Table {
  const char *name;
  void (*linear)(const Linear &);
  void (*linear_int8)(const LinearInt8 &);
  void (*attend_decode)(const AttendDecode &);
  void (*attend_packed)(const AttendPacked &);
  void (*add)(const Add &);
  void (*rms_norm)(const Norm &);
  void (*layer_norm)(const Norm &);
  void (*gated)(const Gated &);
  void (*rope_store)(const RopeStore &);
  void (*selective_scan)(const SelectiveScan &);
};

extern const Table baseline_table;
#ifdef ENFOLD_X86
extern const Table avx2_table;
extern const Table avx512_table;
extern const Table avx512_vnni_table;
extern const Table avx512_bf16_table;
#endif

// Choose the table of that name, or the best that this processor runs for an empty one; throws std::invalid_argument.
void use(const std::string &name);
const Table &table();

// The calling thread's own memory, 64-byte aligned, kept between calls and grown on demand.
void *scratch(size_t bytes);

}  // namespace enfold::kernels
