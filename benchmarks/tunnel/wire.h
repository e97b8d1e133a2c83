/* This file is what both ends of the load share: the words a connection begins with, and sockets that do not wait.
 *
 * The first byte a user sends says what the target does: 'E' echoes what follows, 'D' sends without end, 'S' too, but
 * to a reader that stalls, and 'U' takes and drops.
 *
 * Streams that stall have small buffers and segments as on an Ethernet: with those of loopback, 200 of them would
 * hold so much in the kernel that it slows down every connection of the machine, tunnel or not.
 *
 * Who drops uses MSG_TRUNC, so that the kernel need not copy: the load must cost little beside the road.
 */
#ifndef WIRE_H
#define WIRE_H

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK = 256 * 1024, REQUEST = 64, SMALL_BUFFER = 64 * 1024, ETHERNET_SEGMENT = 1448 };

struct counters {
    _Atomic uint64_t received;
};

static char chunk[CHUNK];

static inline void die(const char *what) {
    perror(what);
    exit(1);
}

static inline double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static inline void without_delay(int s) {
    int one = 1;
    setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static inline void without_waiting(int s) {
    fcntl(s, F_SETFL, fcntl(s, F_GETFL) | O_NONBLOCK);
}

static inline struct sockaddr_in loopback(int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

static inline struct counters *shared_counters(const char *path) {
    int f = open(path, O_RDWR | O_CREAT, 0600);
    if (f < 0 || ftruncate(f, sizeof(struct counters)) < 0) die(path);
    void *at = mmap(NULL, sizeof(struct counters), PROT_READ | PROT_WRITE, MAP_SHARED, f, 0);
    if (at == MAP_FAILED) die("mmap");
    close(f);
    return at;
}

#endif
