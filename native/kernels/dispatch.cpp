#include <atomic>
#include <cstdlib>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels.h"

namespace enfold::kernels {
namespace {

struct Level {
  const Table *table;
  bool runs;
};

// Best first.
std::vector<Level> levels() {
#ifdef ENFOLD_X86
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  const bool vnni = avx512 && __builtin_cpu_supports("avx512vnni");
  return {{&avx512_bf16_table, vnni && __builtin_cpu_supports("avx512bf16")},
          {&avx512_vnni_table, vnni},
          {&avx512_table, avx512},
          {&avx2_table, avx2},
          {&baseline_table, true}};
#else
  return {{&baseline_table, true}};
#endif
}

const Table *choose(const std::string &wanted) {
  std::string known;
  for (const Level &level : levels()) {
    if (wanted.empty() ? level.runs : wanted == level.table->name) {
      if (level.runs) return level.table;
      throw std::invalid_argument("this processor lacks the instructions of " + wanted);
    }
    known += known.empty() ? level.table->name : std::string(", ") + level.table->name;
  }
  throw std::invalid_argument("unknown instruction set '" + wanted + "': expected one of " + known);
}

std::atomic<const Table *> current{nullptr};

struct Scratch {
  void *data = nullptr;
  size_t size = 0;
  ~Scratch() { std::free(data); }
};

}  // namespace

void use(const std::string &name) { current = choose(name); }

const Table &table() { return *current.load(std::memory_order_relaxed); }

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
