#include "parallel.hpp"

#include <algorithm>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "../inputs.hpp"

namespace enfold::tok {

namespace {

constexpr std::size_t kWorkOfAThread = 100'000;

}  // namespace

std::size_t threads_for(std::size_t work) {
  if (work < 2 * kWorkOfAThread || !threads_allowed()) return 1;
  return std::clamp<std::size_t>(std::thread::hardware_concurrency(), 1, work / kWorkOfAThread);
}

void in_threads(std::size_t n, const std::function<void(std::size_t)>& task) {
  std::exception_ptr failure;
  std::mutex mutex;
  const auto run = [&](std::size_t i) {
    try {
      task(i);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
    }
  };
  std::vector<std::thread> threads;
  std::size_t started = 0;
  for (; started + 1 < n; ++started) {
    try {
      threads.emplace_back(run, started);
    } catch (const std::system_error&) {
      break;  // no more threads to be had: this one does the rest
    }
  }
  for (std::size_t i = started; i < n; ++i) run(i);
  for (std::thread& thread : threads) thread.join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace enfold::tok
