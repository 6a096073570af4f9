// flood PORT PATH CONNECTIONS RATE COUNT ADDRESSES: COUNT GET requests, RATE a second, whether they are answered or not.
//
// They go round over kept connections, each as a proxy sends it that has it from one of ADDRESSES. A connection has at
// most UNANSWERED of them on their way: a server that does not keep up gets them later. Prints a line of JSON: requests,
// seconds, latencies of the answers 200, how many were something else than 200 and 429, and for each window that
// X-RateLimit-Reset names [second, 200, 429].
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common.h"

#define ANSWER_BYTES 65536
#define EVENTS 256
#define UNANSWERED 64
#define REQUEST_BYTES 512
#define WINDOWS 4096
#define PATIENCE_NS 30000000000ull

typedef struct {
    int fd;
    unsigned asked, answered;
    uint64_t asked_at[UNANSWERED];
    char answer[ANSWER_BYTES + 1];
    size_t length;
} Connection;

typedef struct {
    size_t passed, refused;
} Window;

static Window windows[WINDOWS];
static unsigned long first_window;
static Samples samples;
static size_t others;

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
}

static void ask(Connection *connection, const char *path, size_t address) {
    char request[REQUEST_BYTES];
    int length = snprintf(request, sizeof request,
                          "GET %s HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 10.%zu.%zu.%zu\r\n\r\n", path,
                          address >> 16 & 255, address >> 8 & 255, address & 255);
    connection->asked_at[connection->asked++ % UNANSWERED] = now_ns();
    // So few requests always fit the kernel's buffer.
    if (send(connection->fd, request, (size_t)length, MSG_NOSIGNAL) != length) die("send");
}

static Window *window_of(const char *head) {
    const char *reset = strcasestr(head, "\r\nx-ratelimit-reset:");
    if (!reset) return NULL;
    unsigned long second = strtoul(reset + strlen("\r\nx-ratelimit-reset:"), NULL, 10);
    if (!first_window) first_window = second - 8;
    return second < first_window || second - first_window >= WINDOWS ? NULL : &windows[second - first_window];
}

// Takes one answer from the front of what has come; its length, or 0.
static size_t take(Connection *connection) {
    char *end = strstr(connection->answer, "\r\n\r\n");
    if (!end) return 0;
    end[2] = 0;
    char *size = strcasestr(connection->answer, "\r\ncontent-length:");
    if (!size) die("an answer without a length");
    size_t whole = (size_t)(end + 4 - connection->answer) + strtoul(size + strlen("\r\ncontent-length:"), NULL, 10);
    int complete = connection->length >= whole, status = atoi(connection->answer + strlen("HTTP/1.1 "));
    Window *window = window_of(connection->answer);
    end[2] = '\r';
    if (!complete) return 0;
    uint64_t asked_at = connection->asked_at[connection->answered++ % UNANSWERED];
    if (status == 200) add_sample(&samples, now_ns() - asked_at);
    if (window && status == 200) window->passed++;
    if (window && status == 429) window->refused++;
    if (!window || (status != 200 && status != 429)) others++;
    return whole;
}

static size_t receive(Connection *connection) {
    size_t count = 0, length;
    ssize_t received = recv(connection->fd, connection->answer + connection->length,
                            ANSWER_BYTES - connection->length, MSG_DONTWAIT);
    if (received < 0 && errno == EAGAIN) return 0;
    if (received <= 0) die("the server closed a connection");
    connection->length += (size_t)received;
    connection->answer[connection->length] = 0;
    while ((length = take(connection))) {
        count++;
        connection->length -= length;
        memmove(connection->answer, connection->answer + length, connection->length + 1);
    }
    return count;
}

int main(int count, char **words) {
    if (count != 7) {
        fprintf(stderr, "usage: flood PORT PATH CONNECTIONS RATE COUNT ADDRESSES\n");
        return 2;
    }
    size_t connections = strtoul(words[3], NULL, 10), total = strtoul(words[5], NULL, 10);
    size_t addresses = strtoul(words[6], NULL, 10), sent = 0, answered = 0;
    double rate = atof(words[4]);
    int poller = epoll_create1(0);
    Connection *all = need(calloc(connections, sizeof *all));
    for (size_t i = 0; i < connections; i++) open_connection(&all[i], atoi(words[1]), poller);

    uint64_t start = now_ns(), heard = start, now = start;
    while (answered < total) {
        now = now_ns();
        size_t due = (size_t)((double)(now - start) / 1e9 * rate);
        while (sent < total && sent <= due) {
            Connection *connection = &all[sent % connections];
            if (connection->asked - connection->answered == UNANSWERED) break;
            ask(connection, words[2], sent % addresses);
            sent++;
        }
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(poller, events, EVENTS, 1);
        for (int i = 0; i < ready; i++) answered += receive(events[i].data.ptr);
        if (ready > 0) heard = now;
        if (now - heard > PATIENCE_NS) {
            fprintf(stderr, "%zu requests were not answered\n", total - answered);
            return 3;
        }
    }
    sort_samples(&samples);
    printf("{\"requests\":%zu,\"seconds\":%.3f,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"others\":%zu,\"windows\":[", answered,
           (double)(now - start) / 1e9, percentile(&samples, 0.5), percentile(&samples, 0.99), others);
    const char *comma = "";
    for (unsigned long i = 0; i < WINDOWS; i++) {
        if (!windows[i].passed && !windows[i].refused) continue;
        printf("%s[%lu,%zu,%zu]", comma, first_window + i, windows[i].passed, windows[i].refused);
        comma = ",";
    }
    printf("]}\n");
    return 0;
}
