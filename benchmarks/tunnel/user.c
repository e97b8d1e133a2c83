/* This file is the user before a road: it makes the load through 127.0.0.1:PORT and prints what it saw as JSON.
 *
 *   user PORT down|up STREAMS WARM SECONDS COUNTERS   bytes that arrived in SECONDS, after WARM seconds
 *   (bulk ends early, with its result, on SIGTERM)
 *   user PORT open TIMES REST                         microseconds from connect to the first byte echoed, REST apart
 *   user PORT ask SECONDS                             microseconds of a 64-byte request and its answer, one by one
 *   user PORT hold|stall STREAMS                      open idle streams, or ones that are never read; until stdin ends
 */
#include <stdbool.h>

#include "wire.h"

enum { MOST = 1 << 20 };

static int port;
static volatile sig_atomic_t told_to_end;
static double *times;
static int taken;

static void broken(const char *what) {
    fprintf(stderr, "%s\n", what);
    exit(1);
}

/* Connect and say the first word, with what follows it in the same packet. */
static int opened(const char *words) {
    int s = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = loopback(port);
    int segment = ETHERNET_SEGMENT, buffer = SMALL_BUFFER;
    if (*words == 'S' && (setsockopt(s, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof segment) < 0 ||
                          setsockopt(s, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer) < 0))
        die("setsockopt");
    if (connect(s, (struct sockaddr *)&address, sizeof address) < 0) die("connect");
    without_delay(s);
    ssize_t size = strlen(words);
    if (send(s, words, size, MSG_NOSIGNAL) != size) die("send");
    return s;
}

static void answered(int s, int size) {
    char text[REQUEST];
    for (int have = 0; have < size;) {
        ssize_t n = recv(s, text, size - have, 0);
        if (n <= 0) broken("the road cut a request");
        have += n;
    }
}

static void asked(int s) {
    static const char text[REQUEST];
    if (send(s, text, REQUEST, MSG_NOSIGNAL) != REQUEST) die("send");
    answered(s, REQUEST);
}

static void end_soon(int unused) {
    (void)unused;
    told_to_end = 1;
}

static int smaller(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void tell_times(void) {
    if (taken == 0) broken("nothing was measured");
    qsort(times, taken, sizeof *times, smaller);
    printf("{\"count\": %d, \"p50\": %.1f, \"p99\": %.1f, \"most\": %.1f}\n", taken, times[taken / 2] * 1e6,
           times[(int)(taken * 0.99)] * 1e6, times[taken - 1] * 1e6);
}

static void open_often(int count, double rest) {
    for (int i = 0; i < count && taken < MOST; i++) {
        usleep((useconds_t)(rest * 1e6));
        double began = now();
        int s = opened("E?");
        answered(s, 1);
        times[taken++] = now() - began;
        close(s);
    }
    tell_times();
}

static void ask(double seconds) {
    int s = opened("E");
    asked(s);
    double end = now() + seconds;
    while (taken < MOST) {
        double began = now();
        if (began >= end && taken > 0) break;
        asked(s);
        times[taken++] = now() - began;
    }
    tell_times();
}

static void hold(int streams, bool stalled) {
    for (int i = 0; i < streams; i++) {
        int s = opened(stalled ? "S" : "E?");
        if (!stalled) answered(s, 1);
    }
    printf("{\"held\": %d}\n", streams);
    fflush(stdout);
    while (read(0, chunk, 1) > 0) {
    }
}

struct stream {
    int socket;
    uint64_t moved, before;
};

static void bulk(bool down, int streams, double warm, double seconds, struct counters *counters) {
    struct stream *all = calloc(streams, sizeof *all);
    struct epoll_event ready[256];
    int poll = epoll_create1(0), silent = streams;
    for (int i = 0; i < streams; i++) {
        all[i].socket = opened(down ? "D" : "U");
        without_waiting(all[i].socket);
        struct epoll_event wish = {.events = down ? EPOLLIN : EPOLLOUT, .data.ptr = &all[i]};
        epoll_ctl(poll, EPOLL_CTL_ADD, all[i].socket, &wish);
    }
    uint64_t whole = atomic_load(&counters->received), first = 0, last;
    double given_up = now() + 30, begin = 0, end = 0, at;
    for (;;) {
        int n = epoll_wait(poll, ready, 256, 5);
        for (int i = 0; i < n; i++) {
            struct stream *one = ready[i].data.ptr;
            ssize_t m = down ? recv(one->socket, NULL, 4 * CHUNK, MSG_TRUNC)
                             : send(one->socket, chunk, CHUNK, MSG_NOSIGNAL);
            if (m == 0 || (m < 0 && errno != EAGAIN)) broken("the road cut a stream");
            if (m > 0 && one->moved == 0) silent--;
            if (m > 0) one->moved += m;
        }
        at = now();
        if (silent > 0 && (at > given_up || told_to_end)) broken("some streams never began within 30 s");
        if (begin == 0 && silent == 0) begin = at + warm;
        if (begin != 0 && end == 0 && at >= begin) {
            begin = at, end = at + seconds;
            first = atomic_load(&counters->received);
            for (int i = 0; i < streams; i++) all[i].before = all[i].moved;
        }
        if (end != 0 && (at >= end || told_to_end)) break;
    }
    last = atomic_load(&counters->received);
    uint64_t sum = 0, moved = 0, least = UINT64_MAX, most = 0;
    for (int i = 0; i < streams; i++) {
        uint64_t one = all[i].moved - all[i].before;
        sum += one, moved += all[i].moved;
        least = one < least ? one : least, most = one > most ? one : most;
    }
    if (!down) sum = last - first, moved = last - whole;
    printf("{\"bytes\": %lu, \"seconds\": %.6f, \"moved\": %lu, \"least\": %lu, \"most\": %lu}\n", sum, at - begin,
           moved, least, most);
}

int main(int argc, char **argv) {
    if (argc < 4) return 2;
    struct sigaction early = {.sa_handler = end_soon};
    sigaction(SIGTERM, &early, NULL);
    port = atoi(argv[1]);
    const char *what = argv[2];
    times = malloc(MOST * sizeof *times);
    bool down = strcmp(what, "down") == 0;
    if (strcmp(what, "open") == 0 && argc == 5)
        open_often(atoi(argv[3]), atof(argv[4]));
    else if (strcmp(what, "ask") == 0)
        ask(atof(argv[3]));
    else if (strcmp(what, "hold") == 0)
        hold(atoi(argv[3]), false);
    else if (strcmp(what, "stall") == 0)
        hold(atoi(argv[3]), true);
    else if ((down || strcmp(what, "up") == 0) && argc == 7)
        bulk(down, atoi(argv[3]), atof(argv[4]), atof(argv[5]), shared_counters(argv[6]));
    else
        return 2;
    return 0;
}
