#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>

#include "kernels.h"

namespace enfold::kernels {
namespace {

struct Level {
  const Table *table;
  bool runs;
};

const Table &choose() {
#ifdef ENFOLD_X86
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  const Level levels[] = {{&avx512_bf16_table, avx512 && __builtin_cpu_supports("avx512bf16")},
                          {&avx512_table, avx512},
                          {&avx2_table, avx2},
                          {&baseline_table, true}};
#else
  const Level levels[] = {{&baseline_table, true}};
#endif
  const char *wanted = std::getenv("ENFOLD_CPU");
  for (const Level &level : levels) {
    if (wanted && *wanted && std::strcmp(wanted, level.table->name) != 0) continue;
    if (level.runs) return *level.table;
    if (wanted && *wanted)
      throw std::runtime_error("ENFOLD_CPU=" + std::string(wanted) + ": this processor lacks those instructions.");
  }
  throw std::runtime_error("ENFOLD_CPU=" + std::string(wanted) +
                           ": expected baseline, avx2, avx512 or avx512_bf16 (x86 only, but for baseline).");
}

struct Scratch {
  void *data = nullptr;
  size_t size = 0;
  ~Scratch() { std::free(data); }
};

}  // namespace

const Table &table() {
  static const Table &chosen = choose();
  return chosen;
}

void *scratch(size_t bytes) {
  thread_local Scratch own;
  if (bytes > own.size) {
    std::free(own.data);
    own.size = (bytes + bytes / 4 + 4095) / 4096 * 4096;
    own.data = std::aligned_alloc(64, own.size);
    if (!own.data) {
      own.size = 0;
      throw std::bad_alloc();
    }
  }
  return own.data;
}

}  // namespace enfold::kernels
