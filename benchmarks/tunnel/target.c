/* This file is the target behind a road: `target COUNTERS` prints its port, then serves until it is killed.
 *
 * Bulk is served by one thread and echoes by another, so that an answer does not wait for bulk here.
 */
#include <pthread.h>

#include "wire.h"

static struct counters *counters;

static ssize_t send_more(int s) { return send(s, chunk, CHUNK, MSG_NOSIGNAL); }

static ssize_t take(int s) {
    ssize_t taken = recv(s, NULL, 4 * CHUNK, MSG_TRUNC);
    if (taken > 0) atomic_fetch_add(&counters->received, taken);
    return taken;
}

static ssize_t echo(int s) {
    char text[4096];
    ssize_t size = recv(s, text, sizeof text, 0);
    return size > 0 ? send(s, text, size, MSG_NOSIGNAL) : size;
}

static void serve(int poll) {
    struct epoll_event ready[256];
    for (;;) {
        int n = epoll_wait(poll, ready, 256, -1);
        for (int i = 0; i < n; i++) {
            char word = ready[i].data.u64 >> 32;
            int s = (int)ready[i].data.u64;
            ssize_t moved = word == 'D' || word == 'S' ? send_more(s) : word == 'U' ? take(s) : echo(s);
            if (moved == 0 || (moved < 0 && errno != EAGAIN)) close(s);
        }
    }
}

static void *serve_in_thread(void *poll) {
    serve((int)(intptr_t)poll);
    return NULL;
}

static void watch(int poll, int s, char word) {
    struct epoll_event wish = {.events = word == 'D' || word == 'S' ? EPOLLOUT : EPOLLIN, .data.u64 = (uint64_t)word << 32 | s};
    epoll_ctl(poll, EPOLL_CTL_ADD, s, &wish);
}

static int new_thread(void) {
    int poll = epoll_create1(0);
    pthread_t thread;
    if (pthread_create(&thread, NULL, serve_in_thread, (void *)(intptr_t)poll) != 0) die("thread");
    return poll;
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    signal(SIGPIPE, SIG_IGN);
    counters = shared_counters(argv[1]);
    int door = socket(AF_INET, SOCK_STREAM, 0), entrance = epoll_create1(0);
    struct sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    if (bind(door, (struct sockaddr *)&address, size) < 0 || listen(door, 1024) < 0) die("listen");
    getsockname(door, (struct sockaddr *)&address, &size);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    int bulk = new_thread(), echoes = new_thread();
    watch(entrance, door, 'A');
    /* A connection that says nothing must not hold up the others: its first byte is waited for here. */
    for (;;) {
        struct epoll_event ready;
        if (epoll_wait(entrance, &ready, 1, -1) < 1) continue;
        int s = (int)ready.data.u64;
        if (s == door) {
            if ((s = accept(door, NULL, NULL)) < 0) continue;
            without_delay(s);
            without_waiting(s);
            watch(entrance, s, 'N');
            continue;
        }
        char word = 0;
        epoll_ctl(entrance, EPOLL_CTL_DEL, s, NULL);
        if (recv(s, &word, 1, 0) == 1) {
            int size = SMALL_BUFFER;
            if (word == 'S') setsockopt(s, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
            watch(word == 'E' ? echoes : bulk, s, word);
        } else {
            close(s);
        }
    }
}
