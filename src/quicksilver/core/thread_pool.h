// The one pool of threads. A parallel region keeps helpers awake over a list of commands.
//
// The cutting thread runs a region; helpers take chunks of whatever it publishes and spin between
// commands, and between regions as long as these follow each other closely, then sleep. The caller
// takes chunks too, and waits only for chunks that a helper has started: a helper that lost its
// core costs nothing. Which thread runs a chunk is chance, so chunks must be independent, and
// results cannot depend on the number of threads.
#pragma once
#include <cstdint>

#include "quicksilver/core/export.h"
#include "quicksilver/core/function_ref.h"

namespace qs {

class QS_API ThreadPool {
 public:
  /// Runs the chunks [first, last) on worker `worker` (0 is the caller), which is unique among the
  /// threads inside one parallel_for, and below threads().
  using Body = FunctionRef<void(int64_t first, int64_t last, int worker)>;

  /// Never destroyed. After fork the child has one thread, its own.
  static ThreadPool& instance();

  int threads() const noexcept;
  /// 1 to 1024; waits for a region of another thread to end. ValueError inside a region or for a
  /// number out of range.
  void set_threads(int threads);

  /// Runs all chunks and returns. One chunk, one thread, or a call from within a chunk or beside
  /// another thread's region: runs here, at once, as body(0, chunks, 0). The first exception of a
  /// chunk is thrown here after the others ended; chunks not yet started are dropped.
  void parallel_for(int64_t chunks, Body body);

  /// Holds the helpers for this thread while it lives; a second thread's region runs alone.
  /// `wake`: helpers are called at once, so that they are there when the first chunks are.
  class QS_API Region {
   public:
    explicit Region(bool wake = false);
    ~Region();
    Region(const Region&) = delete;
    Region& operator=(const Region&) = delete;

   private:
    friend class ThreadPool;
    enum Single { single };  // around one parallel_for: helpers need not stay
    explicit Region(Single);
    void enter(bool wake, bool several);
    bool outermost_ = false;
    void* owned_ = nullptr;  // the pool's state when this region holds its helpers
  };

 private:
  struct State;
  struct ThreadLocal;
  ThreadPool();
  static ThreadLocal& local();
  static void help(State& state, int worker);
  static void take_pieces(State& state, int worker);
  static void fork_prepare();
  static void fork_parent();
  static void fork_child();
  State* state_;
};

}  // namespace qs
