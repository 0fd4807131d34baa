#pragma once

#include <cstddef>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

namespace enfold::tok {

// Memory for tables that are looked into all over: a large one lies in huge pages where the system has them, because
// otherwise nearly every look into it waits for the address of its page too. It is zero at first, on a cache line.
void* table_memory(std::size_t bytes);
void free_table_memory(void* memory, std::size_t bytes);

template <typename T>
struct TableAllocator {
  using value_type = T;
  TableAllocator() = default;
  template <typename U>
  TableAllocator(const TableAllocator<U>&) {}
  T* allocate(std::size_t n) { return static_cast<T*>(table_memory(n * sizeof(T))); }
  // Plain values that are made from nothing are not written: new memory is zero.
  template <typename U>
  void construct(U* p) {
    if constexpr (!std::is_trivially_default_constructible_v<U>) ::new (static_cast<void*>(p)) U();
  }
  template <typename U, typename First, typename... Rest>
  void construct(U* p, First&& first, Rest&&... rest) {
    ::new (static_cast<void*>(p)) U(std::forward<First>(first), std::forward<Rest>(rest)...);
  }
  void deallocate(T* p, std::size_t n) { free_table_memory(p, n * sizeof(T)); }
  bool operator==(const TableAllocator&) const { return true; }
};

template <typename T>
using Table = std::vector<T, TableAllocator<T>>;

}  // namespace enfold::tok
