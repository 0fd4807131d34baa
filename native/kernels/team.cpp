#include "team.h"

#include <atomic>
#include <chrono>
#include <new>
#include <thread>

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#include <signal.h>
#define ENFOLD_POSIX
#endif

namespace enfold::kernels {
namespace {

inline void relax() {
#if defined(__x86_64__) || defined(__i386__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// How long a helper looks out for the next job before it sleeps: a decoding loop asks again within this time.
constexpr auto patience = std::chrono::microseconds(100);
// How often the caller looks for the last pieces to be done before it gives its core away.
constexpr int looks = 400;

class Team {
 public:
  void run(int64_t pieces, int threads, void (*call)(const void *, int64_t), const void *context) {
    if (threads < 2 || pieces < 2 || busy_.test_and_set(std::memory_order_acquire)) {
      for (int64_t piece = 0; piece < pieces; ++piece) call(context, piece);
      return;
    }
    while (helpers_ < threads - 1 && hire()) {
    }
    call_ = call;
    context_ = context;
    done_.store(0, std::memory_order_relaxed);
    wanted_.store(threads - 1, std::memory_order_relaxed);
    // The job's number, its pieces and the next one to hand out are one word: taking a piece proves that the job stands.
    const uint64_t number = ((job_.load(std::memory_order_relaxed) >> (2 * bits)) + 1) << (2 * bits);
    job_.store(number | uint64_t(pieces) << bits, std::memory_order_release);
    calls_.fetch_add(1, std::memory_order_seq_cst);
    calls_.notify_all();
    work();
    for (int look = 0; done_.load(std::memory_order_acquire) != pieces; ++look) {
      if (look < looks) {
        relax();
      } else {
        std::this_thread::yield();  // a helper in the middle of a piece may be waiting for this core
      }
    }
    busy_.clear(std::memory_order_release);
  }

 private:
  static constexpr int bits = 21;
  static constexpr uint64_t mask = (uint64_t(1) << bits) - 1;
  static_assert(most_pieces <= int64_t(mask));

  // Take pieces of the present job until none is left; true if there was one.
  bool work() {
    bool any = false;
    uint64_t job = job_.load(std::memory_order_acquire);
    while ((job & mask) < ((job >> bits) & mask)) {
      if (!job_.compare_exchange_weak(job, job + 1, std::memory_order_acq_rel, std::memory_order_acquire)) continue;
      call_(context_, int64_t(job & mask));
      done_.fetch_add(1, std::memory_order_release);
      any = true;
      job = job_.load(std::memory_order_acquire);
    }
    return any;
  }

  void serve(int rank) {
    for (;;) {
      const uint32_t seen = calls_.load(std::memory_order_seq_cst);
      if (rank < wanted_.load(std::memory_order_relaxed) && work()) continue;
      const auto start = std::chrono::steady_clock::now();
      bool called = false;
      while (!called && std::chrono::steady_clock::now() - start < patience) {
        for (int look = 0; look < 16 && !called; ++look) {
          relax();
          called = calls_.load(std::memory_order_acquire) != seen;
        }
      }
      if (!called) calls_.wait(seen, std::memory_order_seq_cst);
    }
  }

  bool hire() {
    try {
#ifdef ENFOLD_POSIX
      sigset_t all, before;  // signals belong to the interpreter's own threads
      sigfillset(&all);
      pthread_sigmask(SIG_SETMASK, &all, &before);
#endif
      std::thread([this, rank = helpers_] { serve(rank); }).detach();
#ifdef ENFOLD_POSIX
      pthread_sigmask(SIG_SETMASK, &before, nullptr);
#endif
    } catch (...) {
      return false;  // no more threads to be had: those that there are do the work
    }
    ++helpers_;
    return true;
  }

  std::atomic_flag busy_ = ATOMIC_FLAG_INIT;
  int helpers_ = 0;
  void (*call_)(const void *, int64_t) = nullptr;
  const void *context_ = nullptr;
  std::atomic<int> wanted_{0};
  alignas(64) std::atomic<uint64_t> job_{0};
  alignas(64) std::atomic<int64_t> done_{0};
  alignas(64) std::atomic<uint32_t> calls_{0};
};

// Never destroyed: helpers sleep in it until the process ends.
Team *team = nullptr;

#ifdef ENFOLD_POSIX
// Threads don't survive a fork; the child gets a team of its own.
void after_fork() { team = new (std::nothrow) Team; }
#endif

Team *make_team() {
#ifdef ENFOLD_POSIX
  pthread_atfork(nullptr, nullptr, after_fork);
#endif
  return team = new (std::nothrow) Team;
}

}  // namespace

void share_out(int64_t pieces, int threads, void (*call)(const void *, int64_t), const void *context) {
  static Team *const first = make_team();
  if (first == nullptr || team == nullptr) threads = 1;
  if (threads < 2) {
    for (int64_t piece = 0; piece < pieces; ++piece) call(context, piece);
    return;
  }
  team->run(pieces, threads, call, context);
}

}  // namespace enfold::kernels
