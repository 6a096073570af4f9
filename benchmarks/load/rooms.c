// Many rooms at once.
#define _GNU_SOURCE
#include "counting.h"

#define OWED (10 * SECOND)

static bool talking;

static Socket *whose_turn(Room *room) {
    Socket *socket = &sockets.all[room->first + room->next];
    room->next = (room->next + 1) % room->count;
    return socket;
}

static void say(Socket *socket, uint64_t due) {
    socket->asked_at = due;
    send_message(socket);
}

static void hear(Socket *socket, const uint8_t *payload, size_t length) {
    if (take_reply(socket, payload, length)) {
        if (talking) say(whose_turn(&sockets.rooms[socket->room]), now_ns());
    } else if (refused(socket, payload, length)) {
        socket->asked_at = 0;
    } else {
        count_deliveries(socket, payload, length);
    }
}

static uint64_t unanswered(void) {
    uint64_t count = 0;
    for (int i = 0; i < sockets.count; i++) count += sockets.all[i].asked_at != 0;
    return count;
}

// The result, and then, when the answers that are still owed have come, the totals: the caller compares what is stored
// with what was sent.
static void conclude(Mark start) {
    Mark stop = mark();
    uint64_t end = now_ns() + OWED;
    while (unanswered() && now_ns() < end) turn(20);
    print_result(start, stop, settle());
    printf("{\"sent\":%u,\"replies\":%lu,\"unanswered\":%lu,\"deliveries\":%lu}\n", counted.sent, counted.replies,
           unanswered(), counted.deliveries);
    fflush(stdout);
}

void talk_in_rooms(double seconds) {
    reset(hear);
    talking = true;
    for (int i = 0; i < sockets.room_count; i++) say(whose_turn(&sockets.rooms[i]), now_ns());
    uint64_t begin = now_ns(), end = begin + WARM_UP + (uint64_t)(seconds * 1e9);
    Mark start = mark();
    while (now_ns() < end && !sockets.closed) {
        if (!counted.recording && now_ns() - begin > WARM_UP) start = start_recording();
        turn(5);
    }
    talking = false;
    conclude(start);
}

// Whoever of the room does not wait for a reply; NULL when all do.
static Socket *free_speaker(Room *room) {
    for (int tried = 0; tried < room->count; tried++) {
        Socket *socket = whose_turn(room);
        if (!socket->asked_at) return socket;
        counted.busy++;
    }
    return NULL;
}

void pace_rooms(double per_second, double seconds, int rooms) {
    reset(hear);
    int room = 0;
    double step = 1e9 / per_second;
    uint64_t begin = now_ns(), end = begin + WARM_UP + (uint64_t)(seconds * 1e9), number = 0, due = begin;
    Mark start = mark();
    while (now_ns() < end && !sockets.closed) {
        if (!counted.recording && now_ns() - begin > WARM_UP) start = start_recording();
        // What is late by a slow server or client is sent at once, and its wait counts from when it was due.
        while (due <= now_ns() && due < end) {
            Socket *socket = free_speaker(&sockets.rooms[room]);
            room = (room + 1) % rooms;
            if (!socket) break;
            say(socket, due);
            due = begin + (uint64_t)((double)++number * step);
        }
        // Sleeping up to a millisecond too long, which counts as the server's: looking without pause would take a core
        // away from it.
        uint64_t now = now_ns();
        turn(due > now ? (int)((due - now) / 1000000) + 1 : 0);
    }
    conclude(start);
}

void round_of_rooms(void) {
    reset(hear);
    Mark start = start_recording();
    for (int i = 0; i < sockets.room_count; i++) say(whose_turn(&sockets.rooms[i]), now_ns());
    uint64_t lost = settle();
    print_result(start, mark(), lost);
}
