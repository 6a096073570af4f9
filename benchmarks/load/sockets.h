// Many WebSocket clients in one thread: an epoll loop, the upgrade, frames in and out.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum { CONNECTING, UPGRADING, OPENING, OPEN, CLOSED } State;

// How a server speaks inside the frames.
typedef enum {
    PLAIN,     // a socket is ready once upgraded; texts are messages
    VEZA,      // an opening frame, whose "type":"reply" makes the socket ready; messages may be replied to
    SOCKET_IO, // Engine.IO 4: 0 opens, 40 connects, 42 is an event, 43 an acknowledgement, 2 a ping, 3 its answer
} Dialect;

// One line of the plan, and the connection made from it.
typedef struct {
    Dialect dialect;
    int room;      // of `rooms`
    char *path;    // of the upgrade request
    char *opening; // VEZA: the frame sent once upgraded
    char *prefix, *suffix; // around the content of a message
    char *reaction;        // `live`: the frame of one
    int fd;
    State state;
    uint8_t *buffer; // bytes of a frame that has not come whole; NULL while there are none
    size_t length, capacity;
    uint64_t asked_at; // when the message that waits for its reply was sent; 0 when none does
    uint64_t seq;      // VEZA: of the last event it has, as the opening's reply told; `storm` goes on from there
} Socket;

// Its sockets follow one another in the plan.
typedef struct {
    int first, count;
    int next; // which of them speaks next
} Room;

// Called with every text frame of a socket that is ready.
typedef void OnText(Socket *socket, const uint8_t *payload, size_t length);

// Called with the texts that come between the opening frame and readiness; whether the socket is ready now.
typedef bool OnOpening(Socket *socket, const uint8_t *payload, size_t length);

typedef struct {
    Socket *all;
    int count, ready, closed; // closed by the server, or lost
    Room *rooms;
    int room_count;
    uint64_t bytes_in;
    OnText *on_text;
    OnOpening *on_opening; // NULL: as the dialect says; otherwise it sends the opening frame too
} Sockets;

extern Sockets sockets;

// Read the plan: one socket a line, seven fields between tabs. Exits when it is none.
void read_plan(const char *path);

// Open all sockets on 127.0.0.1, at most `at_once` in the middle of it, within `seconds`. Exits when it fails.
void open_sockets(int port, int at_once, double seconds);

// Close a socket without a word, as a cut does.
void drop(Socket *socket);

// Begin to open a socket that was dropped; `sockets.ready` counts it when it is.
void open_again(Socket *socket);

// Handle what has arrived, waiting up to `milliseconds` for it. True when standard input has something to read.
bool turn(int milliseconds);

// Send one text frame.
void send_text(Socket *socket, const char *text, size_t length);
