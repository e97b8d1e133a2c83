/* This file is the limit: TLS 1.3 between two C processes on loopback, memory to memory, and nothing else.
 *
 *   tls_limit CA CERTIFICATE KEY WARM SECONDS
 *
 * Both ends show the certificate and check the other's. Prints JSON; CPU is of both processes.
 */
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "wire.h"

static void broken(const char *what) {
    fprintf(stderr, "%s\n", what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

static SSL_CTX *context(const SSL_METHOD *method, char **argv) {
    SSL_CTX *made = SSL_CTX_new(method);
    SSL_CTX_set_min_proto_version(made, TLS1_3_VERSION);
    SSL_CTX_set_verify(made, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    if (SSL_CTX_load_verify_locations(made, argv[1], NULL) != 1 ||
        SSL_CTX_use_certificate_file(made, argv[2], SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_use_PrivateKey_file(made, argv[3], SSL_FILETYPE_PEM) != 1)
        broken("certificates");
    return made;
}

static void send_without_end(int port, char **argv) {
    int s = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = loopback(port);
    if (connect(s, (struct sockaddr *)&address, sizeof address) < 0) die("connect");
    SSL *tls = SSL_new(context(TLS_client_method(), argv));
    SSL_set_fd(tls, s);
    if (SSL_connect(tls) != 1) broken("connect");
    while (SSL_write(tls, chunk, CHUNK) > 0) {
    }
    exit(0);
}

static double seconds_of(int who) {
    struct rusage use;
    getrusage(who, &use);
    return use.ru_utime.tv_sec + use.ru_stime.tv_sec + (use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
}

int main(int argc, char **argv) {
    if (argc != 6) return 2;
    signal(SIGPIPE, SIG_IGN);
    double warm = atof(argv[4]), seconds = atof(argv[5]);
    int door = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    if (bind(door, (struct sockaddr *)&address, size) < 0 || listen(door, 1) < 0) die("listen");
    getsockname(door, (struct sockaddr *)&address, &size);
    pid_t other = fork();
    if (other == 0) send_without_end(ntohs(address.sin_port), argv);
    int s = accept(door, NULL, NULL);
    SSL *tls = SSL_new(context(TLS_server_method(), argv));
    SSL_set_fd(tls, s);
    if (SSL_accept(tls) != 1) broken("accept");
    uint64_t moved = 0, before = 0;
    double begin = now() + warm, end = 0, at;
    for (;;) {
        int n = SSL_read(tls, chunk, CHUNK);
        if (n <= 0) broken("read");
        moved += n;
        at = now();
        if (end == 0 && at >= begin) begin = at, end = at + seconds, before = moved;
        if (end != 0 && at >= end) break;
    }
    close(s);
    waitpid(other, NULL, 0);
    printf("{\"bytes\": %lu, \"seconds\": %.6f, \"moved\": %lu, \"cpu\": %.3f, \"cipher\": \"%s\"}\n", moved - before,
           at - begin, moved, seconds_of(RUSAGE_SELF) + seconds_of(RUSAGE_CHILDREN), SSL_get_cipher(tls));
    return 0;
}
