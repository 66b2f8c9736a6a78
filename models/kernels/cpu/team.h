// A team of threads that walks through the stages of a step together: tasks of a stage are handed out one by one, and no
// thread enters a stage before all have left the one before. Threads live for one call, so a fork is harmless.
#pragma once
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace hvr {

constexpr int PARTS = 16;  // gradients are added up in this many parts, whatever the number of threads: same sums always

class Team {
  public:
    explicit Team(int threads) : size(threads < 1 ? 1 : threads) {}
    const int size;

    // Called by every member: shares out tasks 0..count-1, then waits for the others.
    // `last` runs once, after all tasks and before anyone goes on.
    template <class Task, class Last>
    void share(int count, Task task, Last last) {
        for (int t; (t = next.fetch_add(1)) < count;) task(t);
        std::unique_lock<std::mutex> lock(mutex);
        if (++arrived == size) {
            last();
            arrived = 0;
            next = 0;
            round++;
            all_there.notify_all();
        } else {
            for (long mine = round; mine == round;) all_there.wait(lock);
        }
    }

    template <class Task>
    void share(int count, Task task) {
        share(count, task, [] {});
    }

    // Runs member(0) .. member(size - 1), each on its own thread.
    template <class Member>
    void run(Member member) {
        std::vector<std::thread> threads;
        for (int i = 1; i < size; i++) threads.emplace_back(member, i);
        member(0);
        for (auto& thread : threads) thread.join();
    }

  private:
    std::atomic<int> next{0};
    int arrived = 0;
    long round = 0;
    std::mutex mutex;
    std::condition_variable all_there;
};

}  // namespace hvr
