// httpload PORT PATH CONNECTIONS SECONDS [HEADER]: GET requests over kept connections, one after another on each.
//
// Prints a line of JSON: requests, seconds (after a second of warm-up) and latencies. An answer other than 200 ends
// it, as does one without Content-Length.
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common.h"

#define ANSWER_BYTES 16384
#define EVENTS 256
#define WARM_UP_NS 1000000000ull

typedef struct {
    int fd;
    uint64_t asked_at;
    char answer[ANSWER_BYTES + 1];
    size_t length;
} Connection;

static char request[1024];
static size_t request_length;

static void ask(Connection *connection) {
    connection->asked_at = now_ns();
    connection->length = 0;
    // A request of a hundred bytes on an idle connection always fits the kernel's buffer.
    if (send(connection->fd, request, request_length, MSG_NOSIGNAL) != (ssize_t)request_length) die("send");
}

static void open_connection(Connection *connection, int port, int poller) {
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    connection->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connection->fd < 0) die("socket");
    if (connect(connection->fd, (struct sockaddr *)&address, sizeof address) < 0) die("connect");
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, connection->fd, &event) < 0) die("epoll_ctl");
    ask(connection);
}

// Whether the answer has come whole.
static int whole(Connection *connection) {
    connection->answer[connection->length] = 0;
    char *body = strstr(connection->answer, "\r\n\r\n");
    if (!body) return 0;
    char *size = strcasestr(connection->answer, "\r\ncontent-length:");
    if (strncmp(connection->answer, "HTTP/1.1 200", 12) || !size || size > body) {
        fprintf(stderr, "not the answer wanted: %.300s\n", connection->answer);
        exit(3);
    }
    size_t header = (size_t)(body + 4 - connection->answer);
    return connection->length >= header + strtoul(size + strlen("\r\ncontent-length:"), NULL, 10);
}

static int answered(Connection *connection) {
    ssize_t received = recv(connection->fd, connection->answer + connection->length,
                            ANSWER_BYTES - connection->length, MSG_DONTWAIT);
    if (received < 0 && errno == EAGAIN) return 0;
    if (received <= 0) die("the server closed a connection");
    connection->length += (size_t)received;
    return whole(connection);
}

int main(int count, char **words) {
    if (count != 5 && count != 6) {
        fprintf(stderr, "usage: httpload PORT PATH CONNECTIONS SECONDS [HEADER]\n");
        return 2;
    }
    int connections = atoi(words[3]), poller = epoll_create1(0);
    request_length = (size_t)snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\n%s%s\r\n", words[2],
                                      count == 6 ? words[5] : "", count == 6 ? "\r\n" : "");
    if (request_length >= sizeof request) die("the header is too long");
    Connection *all = need(calloc((size_t)connections, sizeof *all));
    for (int i = 0; i < connections; i++) open_connection(&all[i], atoi(words[1]), poller);

    Samples samples = {0};
    uint64_t start = now_ns() + WARM_UP_NS, end = start + (uint64_t)(atof(words[4]) * 1e9), now = 0;
    while ((now = now_ns()) < end) {
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(poller, events, EVENTS, 100);
        for (int i = 0; i < ready; i++) {
            Connection *connection = events[i].data.ptr;
            if (!answered(connection)) continue;
            now = now_ns();
            if (now >= start) add_sample(&samples, now - connection->asked_at);
            ask(connection);
        }
    }
    sort_samples(&samples);
    printf("{\"requests\":%zu,\"seconds\":%.3f,\"p50_ms\":%.3f,\"p99_ms\":%.3f}\n", samples.count,
           (double)(now - start) / 1e9, percentile(&samples, 0.5), percentile(&samples, 0.99));
    return 0;
}
