#define _GNU_SOURCE
#include "sockets.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common.h"

#define READ_BYTES 65536
#define FRAME_BYTES 70000
#define EVENTS 512
// A server that takes nothing for so long is stuck.
#define SEND_PATIENCE_MS 10000

enum { TEXT = 1, CLOSE = 8, PING = 9, PONG = 10 };

Sockets sockets;
static int poller = -1;
static int server_port;

static char *field(char **rest) { return need(strdup(strsep(rest, "\t"))); }

static Dialect dialect(const char *name) {
    if (!strcmp(name, "plain")) return PLAIN;
    if (!strcmp(name, "veza")) return VEZA;
    if (!strcmp(name, "socket.io")) return SOCKET_IO;
    fprintf(stderr, "no such dialect: %s\n", name);
    exit(2);
}

// Put the newest socket into the room of that number, which is the last one or the next.
static void enter_room(int number) {
    if (number == sockets.room_count) {
        sockets.rooms = need(realloc(sockets.rooms, (size_t)++sockets.room_count * sizeof(Room)));
        sockets.rooms[number] = (Room){.first = sockets.count - 1};
    }
    if (number != sockets.room_count - 1) {
        fprintf(stderr, "the sockets of a room do not follow one another\n");
        exit(2);
    }
    sockets.rooms[number].count++;
}

void read_plan(const char *path) {
    FILE *file = fopen(path, "r");
    if (!file) die(path);
    char *line = NULL;
    size_t size = 0;
    int capacity = 0;
    while (getline(&line, &size, file) > 0) {
        line[strcspn(line, "\n")] = 0;
        int tabs = 0;
        for (char *c = line; *c; c++) tabs += *c == '\t';
        if (tabs != 6) {
            fprintf(stderr, "%s: a line of the plan has seven fields\n", path);
            exit(2);
        }
        if (sockets.count == capacity) {
            capacity = capacity ? capacity * 2 : 256;
            sockets.all = need(realloc(sockets.all, (size_t)capacity * sizeof(Socket)));
        }
        char *rest = line;
        Socket *socket = &sockets.all[sockets.count++];
        *socket = (Socket){.fd = -1, .dialect = dialect(strsep(&rest, "\t")), .room = atoi(strsep(&rest, "\t"))};
        socket->path = field(&rest);
        socket->opening = field(&rest);
        socket->prefix = field(&rest);
        socket->suffix = field(&rest);
        socket->reaction = field(&rest);
        enter_room(socket->room);
    }
    free(line);
    fclose(file);
}

void drop(Socket *socket) {
    if (socket->state == CLOSED) return;
    if (socket->state == OPEN) sockets.ready--;
    socket->state = CLOSED;
    close(socket->fd);
    socket->fd = -1;
}

static void lost(Socket *socket) {
    sockets.closed += socket->state != CLOSED;
    drop(socket);
}

// Writes everything, waiting where the kernel's buffer is full: frames here are small, and waiting is rare.
static void write_all(Socket *socket, const uint8_t *data, size_t length) {
    while (length && socket->state != CLOSED) {
        ssize_t sent = send(socket->fd, data, length, MSG_NOSIGNAL);
        if (sent > 0) {
            data += sent;
            length -= (size_t)sent;
        } else if (errno == EAGAIN) {
            struct pollfd writable = {.fd = socket->fd, .events = POLLOUT};
            if (poll(&writable, 1, SEND_PATIENCE_MS) == 0) die("the server takes nothing any more");
        } else {
            lost(socket);
        }
    }
}

static void send_frame(Socket *socket, int opcode, const void *payload, size_t length) {
    static uint8_t frame[FRAME_BYTES];
    if (length > FRAME_BYTES - 8) die("a frame is too long");
    size_t at = 0;
    frame[at++] = (uint8_t)(0x80 | opcode);
    if (length < 126) {
        frame[at++] = (uint8_t)(0x80 | length);
    } else {
        frame[at++] = 0x80 | 126;
        frame[at++] = (uint8_t)(length >> 8);
        frame[at++] = (uint8_t)length;
    }
    memset(frame + at, 0, 4); // a mask of zeros is legal and costs nothing
    at += 4;
    memcpy(frame + at, payload, length);
    write_all(socket, frame, at + length);
}

void send_text(Socket *socket, const char *text, size_t length) { send_frame(socket, TEXT, text, length); }

static void become_ready(Socket *socket) {
    socket->state = OPEN;
    sockets.ready++;
}

static bool opened(Socket *socket, const uint8_t *payload, size_t length) {
    if (socket->dialect == SOCKET_IO) {
        if (length && payload[0] == '0') send_text(socket, "40", 2);
        return length >= 2 && payload[0] == '4' && payload[1] == '0';
    }
    if (memmem(payload, length, "\"type\":\"error\"", 14)) {
        fprintf(stderr, "the opening frame was refused: %.*s\n", (int)length, (const char *)payload);
        exit(3);
    }
    if (!memmem(payload, length, "\"type\":\"reply\"", 14)) return false;
    const char *seq = memmem(payload, length, "\"seq\":", 6);
    if (seq) socket->seq = strtoull(seq + 6, NULL, 10);
    return true;
}

static void take_text(Socket *socket, const uint8_t *payload, size_t length) {
    if (socket->state == OPENING) {
        if ((sockets.on_opening ? sockets.on_opening : opened)(socket, payload, length)) become_ready(socket);
    } else if (socket->dialect == SOCKET_IO && length == 1 && payload[0] == '2') {
        send_text(socket, "3", 1);
    } else if (sockets.on_text) {
        sockets.on_text(socket, payload, length);
    }
}

static void take_frame(Socket *socket, int opcode, const uint8_t *payload, size_t length) {
    if (opcode == PING) {
        send_frame(socket, PONG, payload, length);
    } else if (opcode == CLOSE) {
        fprintf(stderr, "a socket was closed: %d\n", length >= 2 ? payload[0] << 8 | payload[1] : 0);
    } else if (opcode == TEXT) {
        take_text(socket, payload, length);
    }
}

// The size of the whole frame at `data`, 0 when it has not come whole. Sets where its payload begins.
static size_t frame_size(const uint8_t *data, size_t length, size_t *header) {
    if (length < 2) return 0;
    size_t size = data[1] & 127;
    *header = size == 126 ? 4 : size == 127 ? 10 : 2;
    if (length < *header) return 0;
    if (size >= 126) {
        size = 0;
        for (size_t i = 2; i < *header; i++) size = size << 8 | data[i];
    }
    return length < *header + size ? 0 : *header + size;
}

// The bytes that the upgrade's answer takes; 0 when it has not come whole.
static size_t take_upgrade(Socket *socket) {
    uint8_t *end = memmem(socket->buffer, socket->length, "\r\n\r\n", 4);
    if (!end) return 0;
    if (memcmp(socket->buffer, "HTTP/1.1 101", 12)) {
        fprintf(stderr, "no WebSocket: %.*s\n", (int)socket->length, (char *)socket->buffer);
        exit(3);
    }
    if (socket->dialect == PLAIN) {
        become_ready(socket);
    } else {
        socket->state = OPENING;
        if (*socket->opening && !sockets.on_opening) send_text(socket, socket->opening, strlen(socket->opening));
    }
    return (size_t)(end + 4 - socket->buffer);
}

static void take_bytes(Socket *socket) {
    size_t at = socket->state == UPGRADING ? take_upgrade(socket) : 0;
    if (socket->state != UPGRADING) {
        size_t header, size;
        while (socket->state != CLOSED && (size = frame_size(socket->buffer + at, socket->length - at, &header))) {
            uint8_t *frame = socket->buffer + at;
            take_frame(socket, frame[0] & 15, frame + header, size - header);
            at += size;
        }
    }
    socket->length -= at;
    if (socket->length) {
        memmove(socket->buffer, socket->buffer + at, socket->length);
    } else {
        // Thousands of sockets would otherwise each keep the memory of their largest moment.
        free(socket->buffer);
        socket->buffer = NULL;
        socket->capacity = 0;
    }
}

static void readable(Socket *socket) {
    ssize_t received = READ_BYTES;
    while (received == READ_BYTES && socket->state != CLOSED) {
        if (socket->capacity < socket->length + READ_BYTES) {
            socket->capacity = socket->length + READ_BYTES;
            socket->buffer = need(realloc(socket->buffer, socket->capacity));
        }
        received = recv(socket->fd, socket->buffer + socket->length, READ_BYTES, 0);
        if (received > 0) {
            sockets.bytes_in += (uint64_t)received;
            socket->length += (size_t)received;
            take_bytes(socket);
        } else if (received == 0 || errno != EAGAIN) {
            lost(socket);
        }
    }
}

static void watch(int operation, int fd, uint32_t events, void *of) {
    struct epoll_event event = {.events = events, .data.ptr = of};
    if (epoll_ctl(poller, operation, fd, &event) < 0) die("epoll_ctl");
}

void open_again(Socket *next) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)server_port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    free(next->buffer);
    next->buffer = NULL;
    next->length = next->capacity = 0;
    next->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (next->fd < 0) die("socket");
    next->state = CONNECTING;
    setsockopt(next->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(next->fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS) die("connect");
    watch(EPOLL_CTL_ADD, next->fd, EPOLLOUT, next);
}

static void connected(Socket *socket) {
    char request[4096];
    int length = snprintf(request, sizeof request,
                          "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
                          socket->path);
    if (length >= (int)sizeof request) die("a path is too long");
    socket->state = UPGRADING;
    watch(EPOLL_CTL_MOD, socket->fd, EPOLLIN, socket);
    write_all(socket, (uint8_t *)request, (size_t)length);
}

bool turn(int milliseconds) {
    struct epoll_event events[EVENTS];
    bool input = false;
    int count = epoll_wait(poller, events, EVENTS, milliseconds);
    for (int i = 0; i < count; i++) {
        Socket *socket = events[i].data.ptr;
        if (!socket) {
            input = true;
        } else if (socket->state == CONNECTING) {
            connected(socket);
        } else if (socket->state != CLOSED) {
            readable(socket);
        }
    }
    return input;
}

void open_sockets(int port, int at_once, double seconds) {
    poller = epoll_create1(0);
    server_port = port;
    int begun = 0;
    uint64_t deadline = now_ns() + (uint64_t)(seconds * 1e9);
    while (sockets.ready < sockets.count) {
        while (begun < sockets.count && begun - sockets.ready - sockets.closed < at_once) {
            open_again(&sockets.all[begun++]);
        }
        turn(100);
        if (now_ns() > deadline || sockets.closed) {
            fprintf(stderr, "%d of %d sockets opened, %d closed\n", sockets.ready, sockets.count, sockets.closed);
            exit(4);
        }
    }
    watch(EPOLL_CTL_ADD, STDIN_FILENO, EPOLLIN, NULL);
}
