/* A static HTTPS client that knows no proxy variable: resolves with the C library's stub resolver (no NSS module,
 * so that it links statically), speaks TLS with OpenSSL, verifies chain and name, prints the answer.
 * usage: static-client HOST PATH. Exit status 0 when the server answered 200. */
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <resolv.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static int resolve(const char *host, struct in_addr *address)
{
    unsigned char answer[4096];
    int length = res_query(host, ns_c_in, ns_t_a, answer, sizeof answer);
    ns_msg message;
    if (length < 0 || ns_initparse(answer, length, &message) != 0)
        return -1;
    for (int i = 0; i < ns_msg_count(message, ns_s_an); i++) {
        ns_rr record;
        if (ns_parserr(&message, ns_s_an, i, &record) == 0 && ns_rr_type(record) == ns_t_a && ns_rr_rdlen(record) == 4) {
            memcpy(address, ns_rr_rdata(record), 4);
            return 0;
        }
    }
    return -1;
}

static int refuse(const char *step)
{
    printf("REFUSED %s\n", step);
    ERR_print_errors_fp(stdout);
    return 1;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 64;
    struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons(443)};
    if (resolve(argv[1], &peer.sin_addr) != 0)
        return refuse("resolve");
    int connection = socket(AF_INET, SOCK_STREAM, 0);
    struct timeval patience = {.tv_sec = 10};
    setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(connection, (struct sockaddr *)&peer, sizeof peer) != 0)
        return refuse("connect");

    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_default_verify_paths(context);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL *session = SSL_new(context);
    SSL_set_tlsext_host_name(session, argv[1]);
    SSL_set1_host(session, argv[1]);
    SSL_set_fd(session, connection);
    if (SSL_connect(session) != 1)
        return refuse("tls");

    char buffer[8192];
    int length = snprintf(buffer, sizeof buffer, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", argv[2], argv[1]);
    if (SSL_write(session, buffer, length) != length)
        return refuse("write");
    int total = 0, got;
    while (total < (int)sizeof buffer - 1 && (got = SSL_read(session, buffer + total, (int)sizeof buffer - 1 - total)) > 0)
        total += got;
    buffer[total] = 0;
    printf("%s\n", buffer);
    return strncmp(buffer, "HTTP/1.1 200", 12) == 0 ? 0 : 1;
}
