#include "table_memory.hpp"

#include <cstdint>
#include <cstring>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace enfold::tok {

namespace {

#if defined(__linux__)

constexpr std::size_t kPage = std::size_t{1} << 16;   // the largest that an ordinary page is
constexpr std::size_t kHuge = std::size_t{1} << 21;
constexpr std::size_t kLarge = kHuge / 4;  // what is worth a huge page

constexpr std::size_t round_up(std::size_t n, std::size_t to) { return (n + to - 1) & ~(to - 1); }

// How much is mapped for so many bytes: huge pages, and ordinary ones for a small rest.
std::size_t mapped(std::size_t bytes) { return round_up(bytes, bytes % kHuge >= kLarge ? kHuge : kPage); }

void* map(std::size_t bytes) {
  // A mapping begins anywhere: what is too much before and behind the aligned part is given back.
  const std::size_t size = mapped(bytes), room = size + kHuge;
  void* const got = mmap(nullptr, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (got == MAP_FAILED) throw std::bad_alloc();
  char* const begin = static_cast<char*>(got);
  const std::size_t before = -reinterpret_cast<std::uintptr_t>(begin) & (kHuge - 1), behind = kHuge - before;
  if (before) munmap(begin, before);
  if (behind) munmap(begin + before + size, behind);
#if defined(MADV_HUGEPAGE)
  madvise(begin + before, size, MADV_HUGEPAGE);
#endif
  return begin + before;
}

#endif

constexpr std::align_val_t kLine{64};

}  // namespace

void* table_memory(std::size_t bytes) {
#if defined(__linux__)
  if (bytes >= kLarge) return map(bytes);
#endif
  return std::memset(::operator new(bytes, kLine), 0, bytes);
}

void free_table_memory(void* memory, std::size_t bytes) {
#if defined(__linux__)
  if (bytes >= kLarge) {
    munmap(memory, mapped(bytes));
    return;
  }
#endif
  ::operator delete(memory, kLine);
}

}  // namespace enfold::tok
