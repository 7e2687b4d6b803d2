#include "cpu/thread_pool.h"

#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace ffc::cpu {
namespace {

class ThreadPool {
 public:
  ThreadPool() {
    try {
      for (int i = 1; i < hardware_workers(); ++i) threads_.emplace_back([this, i] { serve(i); });
    } catch (const std::system_error&) {
      // Fewer threads than asked for: the caller's thread does their share.
    }
  }

  ~ThreadPool() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  // Threads stay behind when a process forks: in the child there are none.
  bool ours() const { return owner_ == getpid(); }

  void run(int workers, void (*body)(void*, int), void* argument) {
    const std::unique_lock turn(turn_, std::try_to_lock);
    const int helpers = turn && ours() ? std::min(workers - 1, static_cast<int>(threads_.size())) : 0;
    if (helpers > 0) {
      const std::lock_guard lock(mutex_);
      body_ = body, argument_ = argument, helpers_ = helpers, running_ = helpers;
      ++generation_;
      wake_.notify_all();
    }
    body(argument, 0);
    for (int worker = helpers + 1; worker < workers; ++worker) body(argument, worker);
    if (helpers > 0) {
      std::unique_lock lock(mutex_);
      done_.wait(lock, [this] { return running_ == 0; });
    }
  }

 private:
  void serve(int number) {
    long seen = 0;
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_.wait(lock, [&] { return stopping_ || generation_ != seen; });
      if (stopping_) return;
      seen = generation_;
      if (number > helpers_) continue;
      const auto body = body_;
      const auto argument = argument_;
      lock.unlock();
      body(argument, number);
      lock.lock();
      if (--running_ == 0) done_.notify_one();
    }
  }

  const pid_t owner_ = getpid();
  std::vector<std::thread> threads_;
  std::mutex turn_;   // held by the caller whose work the threads do
  std::mutex mutex_;  // guards everything below
  std::condition_variable wake_, done_;
  void (*body_)(void*, int) = nullptr;
  void* argument_ = nullptr;
  int helpers_ = 0, running_ = 0;
  long generation_ = 0;
  bool stopping_ = false;
};

}  // namespace

int hardware_workers() { return std::max(1, static_cast<int>(std::thread::hardware_concurrency())); }

void run_on_own_threads(int workers, void (*body)(void*, int), void* argument) {
  if (workers == 1) return body(argument, 0);
  // In a forked child the pool must not be taken down: that would wait for threads that are not there.
  static const struct Holder {
    ThreadPool* pool = new ThreadPool;
    ~Holder() {
      if (pool->ours()) delete pool;
    }
  } holder;
  holder.pool->run(workers, body, argument);
}

}  // namespace ffc::cpu
