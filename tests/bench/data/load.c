/* The client that wrk is not, and the raw server of tunnels. A thread a connection, blocking calls, no cleverness.
 *
 *   load churn  tls|plain HOST ADDRESS CONNECTIONS SECONDS        a connection, with a full handshake, for each GET
 *   load paced  tls|plain HOST ADDRESS CONNECTIONS SECONDS RATE   RATE GETs a second, kept connections; a time counts
 *                                                                 from when the GET was due, not from when it went;
 *                                                                 connections are opened and asked once before that;
 *                                                                 RATE 0: the next is due when the last one came
 *   load pour   tls|plain HOST ADDRESS CONNECTIONS SECONDS        /bulk again and again; octets of bodies
 *   load tunnel -         HOST ADDRESS CONNECTIONS SECONDS        a ClientHello for HOST, then octets that are read raw
 *   load hold   tls|plain HOST ADDRESS STEP                       for each line of input STEP more idle connections
 *   load serve  FILE      -    ADDRESS                            the far end of tunnels: a ClientHello in, FILE out
 *
 * PROXY=ADDRESS:PORT in the environment is asked by CONNECT for each connection.
 * Every answer has to be a 200. The end is one line of JSON, in the form of wrk.lua's.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PATHS = 1000, PIECE = 256 * 1024, HEAD = 16 * 1024 };
#define FIELDS                                                                                               \
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) bench/1.0\r\n"                                              \
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"                            \
    "Accept-Encoding: gzip, deflate\r\nAccept-Language: en-GB,en;q=0.7\r\n"

static const char *host;
static struct sockaddr_in target;
static SSL_CTX *context; /* absent: plain */
static double began, until, rate;
static atomic_long turn, requests, octets, failed_connect, failed_read, failed_status;
static float *times; /* of each request, milliseconds */
enum { MOST_TIMES = 20 * 1000 * 1000 };

typedef struct { int fd; SSL *ssl; } Connection;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static int lost(atomic_long *counter) {
    ++*counter;
    return 0;
}

static void hang_up(Connection *c) {
    if (c->ssl) SSL_free(c->ssl);
    if (c->fd >= 0) close(c->fd);
    *c = (Connection){-1, NULL};
}

static int proxied;

/* A tunnel to the host by CONNECT, octet by octet, so that nothing behind the head is taken. */
static int opened(int fd) {
    char text[HEAD];
    int size = snprintf(text, sizeof text, "CONNECT %s:443 HTTP/1.1\r\nHost: %s:443\r\n\r\n", host, host);
    if (send(fd, text, size, MSG_NOSIGNAL) != size) return 0;
    for (size = 0; size < 4 || memcmp(text + size - 4, "\r\n\r\n", 4); size++)
        if (size == HEAD - 1 || recv(fd, text + size, 1, 0) != 1) return 0;
    return !strncmp(text, "HTTP/1.1 200 ", 13);
}

static int dial(Connection *c) {
    int on = 1;
    struct timeval patience = {10, 0};
    *c = (Connection){socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), NULL};
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(c->fd, (struct sockaddr *)&target, sizeof target) == 0 && (!proxied || opened(c->fd))) {
        if (!context) return 1;
        c->ssl = SSL_new(context);
        SSL_set_fd(c->ssl, c->fd);
        SSL_set_tlsext_host_name(c->ssl, host);
        if (SSL_connect(c->ssl) == 1) return 1;
    }
    hang_up(c);
    return lost(&failed_connect);
}

static int get(Connection *c, char *to, int most) {
    return c->ssl ? SSL_read(c->ssl, to, most) : (int)recv(c->fd, to, most, 0);
}

static int put(Connection *c, const char *text, int size) {
    return (c->ssl ? SSL_write(c->ssl, text, size) : (int)send(c->fd, text, size, MSG_NOSIGNAL)) == size;
}

/* One GET; the body is counted while it comes, and given up at the end of the time. 1: all of it came. */
static int ask(Connection *c, const char *path, const char *more, char *buffer) {
    int size = snprintf(buffer, HEAD, "GET %s HTTP/1.1\r\nHost: %s\r\n" FIELDS "%s\r\n", path, host, more);
    long left;
    char *end = NULL, *length;
    if (!put(c, buffer, size)) return lost(&failed_read);
    for (size = 0; !end;) {
        int got = get(c, buffer + size, HEAD - 1 - size);
        if (got <= 0) return lost(&failed_read);
        size += got;
        buffer[size] = 0;
        end = strstr(buffer, "\r\n\r\n");
    }
    if (strncmp(buffer, "HTTP/1.1 200 ", 13)) return lost(&failed_status);
    length = strcasestr(buffer, "\r\nContent-Length:");
    if (!length || length > end) return lost(&failed_status);
    left = atol(length + 17) - (size - (end + 4 - buffer));
    octets += size - (end + 4 - buffer);
    while (left > 0) {
        int got = get(c, buffer, left < PIECE ? left : PIECE);
        if (got <= 0) return lost(&failed_read);
        left -= got;
        octets += got;
        if (now() > until + 5) return 0; /* nobody waits for the rest of a large one */
        if (left > PIECE * 16 && now() > until) return 0;
    }
    return 1;
}

static void took(double from) {
    long number = requests++;
    if (number < MOST_TIMES) times[number] = (now() - from) * 1000;
}

static void *churn(void *unused) {
    char *buffer = malloc(PIECE), path[32];
    while (now() < until) {
        Connection c;
        double from = now();
        snprintf(path, sizeof path, "/o/%ld", turn++ % PATHS + 1);
        if (!dial(&c)) continue;
        if (ask(&c, path, "Connection: close\r\n", buffer)) took(from);
        hang_up(&c);
    }
    return unused;
}

static pthread_barrier_t opened_all, started;

static void *paced(void *unused) {
    char *buffer = malloc(PIECE), path[32];
    Connection c = {-1, NULL};
    if (dial(&c) && !ask(&c, "/o/1", "", buffer)) hang_up(&c);
    pthread_barrier_wait(&opened_all);
    pthread_barrier_wait(&started);
    for (;;) {
        long number = turn++;
        double due = rate > 0 ? began + number / rate : now();
        struct timespec at = {(time_t)due, (long)((due - (time_t)due) * 1e9)};
        if (due > until) break;
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
        if (now() > until + 5) break; /* far behind: what is missing shows in the count */
        if (c.fd < 0 && !dial(&c)) continue;
        snprintf(path, sizeof path, "/o/%ld", number % PATHS + 1);
        if (ask(&c, path, "", buffer)) took(due); else hang_up(&c);
    }
    hang_up(&c);
    return unused;
}

static void *pour(void *unused) {
    char *buffer = malloc(PIECE);
    Connection c = {-1, NULL};
    while (now() < until) {
        if (c.fd < 0 && !dial(&c)) continue;
        double from = now();
        if (ask(&c, "/bulk", "", buffer)) took(from); else hang_up(&c);
    }
    hang_up(&c);
    return unused;
}

/* What a client would send first, made by OpenSSL for HOST. */
static int first_flight(char *buffer) {
    SSL_CTX *own = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(own);
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    SSL_set_bio(ssl, in, out);
    SSL_set_tlsext_host_name(ssl, host);
    SSL_connect(ssl);
    return BIO_read(out, buffer, HEAD);
}

static void *tunnel(void *unused) {
    char hello[HEAD];
    int size = first_flight(hello);
    Connection c;
    if (!dial(&c) || !put(&c, hello, size)) {
        lost(&failed_connect);
        return unused;
    }
    while (now() < until) {
        long got = recv(c.fd, NULL, 4 * PIECE, MSG_TRUNC); /* tcp(7): counted, not copied */
        if (got <= 0) { failed_read++; break; }
        octets += got;
    }
    if (octets) took(began);
    hang_up(&c);
    return unused;
}

static void *hold(int step) {
    char *buffer = malloc(PIECE), line[64];
    while (fgets(line, sizeof line, stdin)) {
        for (int n = 0; n < step; n++) {
            Connection *c = malloc(sizeof *c); /* held to the end of the process */
            if (dial(c) && ask(c, "/o/1", "", buffer)) requests++;
            usleep(3000); /* the kernel lets 400 new connections a second of one container through */
        }
        printf("%ld %ld\n", (long)requests, (long)(failed_connect + failed_read + failed_status));
        fflush(stdout);
    }
    return NULL;
}

static const char *file;

static void *serve_one(void *given) {
    int fd = (int)(long)given, source = open(file, O_RDONLY | O_CLOEXEC);
    char hello[HEAD];
    struct stat about;
    fstat(source, &about);
    if (recv(fd, hello, sizeof hello, 0) > 0)
        for (off_t at = 0; sendfile(fd, source, &at, 4 * PIECE) > 0;)
            if (at >= about.st_size) at = 0;
    close(source);
    close(fd);
    return NULL;
}

static void serve(void) {
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&target, sizeof target) || listen(fd, 128)) { perror("serve"); exit(1); }
    printf("ready\n");
    fflush(stdout);
    for (;;) {
        pthread_t thread;
        long one = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
        if (one < 0) continue;
        pthread_create(&thread, NULL, serve_one, (void *)one);
        pthread_detach(thread);
    }
}

static int by_size(const void *a, const void *b) {
    return (*(const float *)a > *(const float *)b) - (*(const float *)a < *(const float *)b);
}

static long microseconds(double part) {
    long count = requests < MOST_TIMES ? requests : MOST_TIMES;
    long place = count * part;
    return count ? times[place < count ? place : count - 1] * 1000 : 0;
}

int main(int count, char **words) {
    if (count < 5) return fprintf(stderr, "see the head of load.c\n"), 2;
    const char *mode = words[1];
    int tls = !strcmp(words[2], "tls"), several = count > 5 ? atoi(words[5]) : 1;
    signal(SIGPIPE, SIG_IGN);
    host = words[3];
    target = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(tls || !strcmp(words[2], "-") ? 443 : 80)};
    if (!strcmp(mode, "serve")) target.sin_port = htons(443);
    if (inet_pton(AF_INET, words[4], &target.sin_addr) != 1) return fprintf(stderr, "no address\n"), 2;
    char *proxy = getenv("PROXY"), *colon = proxy ? strchr(proxy, ':') : NULL;
    if (colon) {
        *colon = 0;
        target.sin_port = htons(atoi(colon + 1));
        proxied = inet_pton(AF_INET, proxy, &target.sin_addr) == 1;
        if (!proxied) return fprintf(stderr, "no address of a proxy\n"), 2;
    }
    if (tls) {
        context = SSL_CTX_new(TLS_client_method());
        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF); /* every handshake is a full one */
        /* A client that costs little: one of each is offered, or two. From 0.8 to 0.4 ms a handshake. */
        SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
        SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256");
        SSL_CTX_set1_groups_list(context, "X25519");
        SSL_CTX_set1_sigalgs_list(context, "ECDSA+SHA256:RSA-PSS+SHA256:RSA+SHA256");
        SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_IGNORE_UNEXPECTED_EOF);
    }
    if (!strcmp(mode, "serve")) return file = words[2], serve(), 0;
    until = now() + 3600; /* of hold: no end but that of its input */
    if (!strcmp(mode, "hold")) return hold(several), 0;
    void *(*work)(void *) = !strcmp(mode, "churn") ? churn : !strcmp(mode, "paced") ? paced
                          : !strcmp(mode, "pour") ? pour : !strcmp(mode, "tunnel") ? tunnel : NULL;
    if (!work || count < 7 || (work == paced && count < 8)) return fprintf(stderr, "see the head of load.c\n"), 2;
    if (work == paced) rate = atof(words[7]);
    times = malloc(sizeof *times * MOST_TIMES);
    began = now();
    until = began + (work == paced ? 3600 : atof(words[6]));
    if (work == paced) {
        pthread_barrier_init(&opened_all, NULL, several + 1);
        pthread_barrier_init(&started, NULL, several + 1);
    }
    pthread_t *threads = calloc(several, sizeof *threads);
    for (int n = 0; n < several; n++) pthread_create(&threads[n], NULL, work, NULL);
    if (work == paced) {
        pthread_barrier_wait(&opened_all);
        began = now();
        until = began + atof(words[6]);
        pthread_barrier_wait(&started);
    }
    for (int n = 0; n < several; n++) pthread_join(threads[n], NULL);
    double seconds = now() - began;
    qsort(times, requests < MOST_TIMES ? requests : MOST_TIMES, sizeof *times, by_size);
    printf("{\"requests\":%ld,\"microseconds\":%ld,\"bytes\":%ld,\"p50_us\":%ld,\"p99_us\":%ld,"
           "\"errors\":{\"connect\":%ld,\"read\":%ld,\"write\":0,\"status\":%ld,\"timeout\":0}}\n",
           (long)requests, (long)(seconds * 1e6), (long)octets, microseconds(0.5), microseconds(0.99),
           (long)failed_connect, (long)failed_read, (long)failed_status);
    return 0;
}
