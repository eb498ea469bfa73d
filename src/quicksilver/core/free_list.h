// A per-thread free list for one class that is made and dropped for each op.
#pragma once
#include <cstddef>
#include <new>

namespace qs {

/// `T::operator new/delete` forward here. An object may die on another thread than it was born on:
/// it joins that thread's list. Lists are bounded and freed with their thread.
template <class T, size_t k_most = 512>
class FreeList {
 public:
  static void* take() {
    Cell& c = cell();
    if (!c.head) return ::operator new(sizeof(T));
    Link* l = c.head;
    c.head = l->next;
    --c.count;
    return l;
  }
  static void give(void* p) noexcept {
    Cell& c = cell();
    if (c.closed || c.count >= k_most) {
      ::operator delete(p);
      return;
    }
    auto* l = static_cast<Link*>(p);
    l->next = c.head;
    c.head = l;
    ++c.count;
  }

 private:
  struct Link {
    Link* next;
  };
  static_assert(sizeof(T) >= sizeof(Link));
  struct Cell {
    Link* head = nullptr;
    size_t count = 0;
    bool closed = false;  // the thread is ending: its other thread-local objects may still die
    ~Cell() {
      closed = true;
      while (head) {
        Link* next = head->next;
        ::operator delete(head);
        head = next;
      }
    }
  };
  static Cell& cell() {
    static thread_local Cell c;
    return c;
  }
};

}  // namespace qs
