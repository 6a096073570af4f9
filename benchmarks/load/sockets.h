// Many WebSocket clients in one thread: an epoll loop, the upgrade, frames in and out.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum { CONNECTING, UPGRADING, OPENING, OPEN, CLOSED } State;

// One line of the plan, and the connection made from it.
typedef struct {
    char *path;    // of the upgrade request
    char *opening; // a frame sent once upgraded, whose reply makes the socket ready; "" when there is none
    char *prefix, *suffix; // around the content of a message
    int fd;
    State state;
    uint8_t *buffer; // bytes of a frame that has not come whole; NULL while there are none
    size_t length, capacity;
    uint64_t asked_at; // when the message that waits for its reply was sent; 0 when none does
} Socket;

// Called with every text frame of a socket that is ready.
typedef void OnText(Socket *socket, const uint8_t *payload, size_t length);

typedef struct {
    Socket *all;
    int count, ready, closed;
    uint64_t bytes_in;
    OnText *on_text;
} Sockets;

extern Sockets sockets;

// Read the plan: one socket a line, four fields between tabs. Exits when it is none.
void read_plan(const char *path);

// Open all sockets on 127.0.0.1, at most `at_once` in the middle of it, within `seconds`. Exits when it fails.
void open_sockets(int port, int at_once, double seconds);

// Handle what has arrived, waiting up to `milliseconds` for it. True when standard input has something to read.
bool turn(int milliseconds);

// Send one text frame.
void send_text(Socket *socket, const char *text, size_t length);
