/* This file is a wire that takes time: `delay_line ONE OTHER MILLISECONDS` hands each frame that comes on one
 * interface out on the other so much later. Stopped with SIGSTOP it is a road on which all is lost without a word.
 *
 * It stands in for tc's netem, which many kernels lack. Frames keep their virtio header, so that the ends may use
 * large segments and leave checksums to each other as on any pair of virtual interfaces.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { FRAME = 68 * 1024, MOST_BYTES = 256 * 1024 * 1024, BUFFER = 32 * 1024 * 1024 };

struct frame {
    struct frame *next;
    double due;
    size_t size;
    char bytes[];
};

struct way {
    int in, out;
    struct frame *first, **last;
    size_t held;
};

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static int tap(const char *interface) {
    int s = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL)), one = 1, buffer = BUFFER;
    struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
    at.sll_ifindex = if_nametoindex(interface);
    setsockopt(s, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer);
    if (s < 0 || at.sll_ifindex == 0 || setsockopt(s, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof one) < 0 ||
        setsockopt(s, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof one) < 0 ||
        bind(s, (struct sockaddr *)&at, sizeof at) < 0) {
        perror(interface);
        exit(1);
    }
    return s;
}

static void take_in(struct way *way, double delay) {
    static char bytes[FRAME];
    ssize_t size;
    while ((size = recv(way->in, bytes, sizeof bytes, MSG_DONTWAIT)) > 0) {
        if (way->held + size > MOST_BYTES) continue;
        struct frame *frame = malloc(sizeof *frame + size);
        frame->next = NULL;
        frame->due = now() + delay;
        frame->size = size;
        memcpy(frame->bytes, bytes, size);
        *way->last = frame;
        way->last = &frame->next;
        way->held += size;
    }
}

static void hand_out(struct way *way) {
    while (way->first != NULL && way->first->due <= now()) {
        struct frame *frame = way->first;
        if (send(way->out, frame->bytes, frame->size, 0) < 0 && errno == EAGAIN) return;
        way->first = frame->next;
        if (way->first == NULL) way->last = &way->first;
        way->held -= frame->size;
        free(frame);
    }
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    double delay = atof(argv[3]) / 1e3;
    int one = tap(argv[1]), other = tap(argv[2]);
    struct way ways[2] = {{.in = one, .out = other}, {.in = other, .out = one}};
    for (int i = 0; i < 2; i++) ways[i].last = &ways[i].first;
    for (;;) {
        double wait = 1;
        for (int i = 0; i < 2; i++) {
            double left = ways[i].first != NULL ? ways[i].first->due - now() : 1;
            wait = left < wait ? left : wait;
        }
        wait = wait < 0 ? 0 : wait;
        struct timespec pause = {.tv_sec = (time_t)wait, .tv_nsec = (long)((wait - (time_t)wait) * 1e9)};
        struct pollfd both[2] = {{.fd = one, .events = POLLIN}, {.fd = other, .events = POLLIN}};
        ppoll(both, 2, &pause, NULL);
        for (int i = 0; i < 2; i++) {
            take_in(&ways[i], delay);
            hand_out(&ways[i]);
        }
    }
}
