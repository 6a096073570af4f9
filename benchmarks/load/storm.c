// All sockets but the first of each room are cut, wait, and come back at once with what they have, while the first
// ones go on writing.
#define _GNU_SOURCE
#include <string.h>

#include "counting.h"

static struct {
    uint64_t began;                   // when the cut sockets started to come back
    uint64_t by_pages, gaps, repeats; // events that came in pages; missing ones; those that came again
    Samples caught_up;                // from `began` until a socket has all
} seen;

static bool writes(const Socket *socket) { return socket - sockets.all == sockets.rooms[socket->room].first; }

static void take_event(Socket *socket, uint64_t seq) {
    if (seq <= socket->seq) {
        seen.repeats++;
        return;
    }
    seen.gaps += seq - socket->seq - 1;
    socket->seq = seq;
}

// Where the next "seq" of the JSON begins its number; NULL when there is none.
static const uint8_t *next_seq(const uint8_t *at, const uint8_t *end) {
    const uint8_t *found = memmem(at, (size_t)(end - at), "\"seq\":", 6);
    return found ? found + 6 : NULL;
}

static void hear(Socket *socket, const uint8_t *payload, size_t length) {
    if (take_reply(socket, payload, length) || refused(socket, payload, length)) return;
    const uint8_t *seq = next_seq(payload, payload + length);
    if (seq) take_event(socket, strtoull((const char *)seq, NULL, 10));
}

static void ask_for_the_rest(Socket *socket) {
    char frame[512];
    // The opening frame is an object; its last brace makes room for one more member.
    size_t length = strlen(socket->opening);
    int size = snprintf(frame, sizeof frame, "%.*s,\"last_seq\":%lu}", (int)length - 1, socket->opening, socket->seq);
    if (size >= (int)sizeof frame) die("an opening frame is too long");
    send_text(socket, frame, (size_t)size);
}

static bool hear_opening(Socket *socket, const uint8_t *payload, size_t length) {
    const uint8_t *end = payload + length;
    if (memmem(payload, length < 40 ? length : 40, "\"type\":\"welcome\"", 16)) {
        ask_for_the_rest(socket);
        return false;
    }
    if (refused(socket, payload, length)) return false;
    const uint8_t *at = memmem(payload, length, "\"events\":[", 10);
    if (!at) return false;
    while ((at = next_seq(at, end))) {
        take_event(socket, strtoull((const char *)at, NULL, 10));
        seen.by_pages++;
    }
    if (memmem(payload, length, "\"has_more\":true", 15)) {
        ask_for_the_rest(socket);
        return false;
    }
    add_sample(&seen.caught_up, now_ns() - seen.began);
    return true;
}

// Write at the rate, from the first sockets of the rooms in turn, until `done` says so or `end` is there.
static void write_until(uint64_t end, double per_second, bool (*done)(void)) {
    static int room;
    double step = 1e9 / per_second;
    uint64_t begin = now_ns(), due = begin, number = 0;
    while (now_ns() < end && !(done && done())) {
        while (due <= now_ns()) {
            send_message(&sockets.all[sockets.rooms[room].first]);
            room = (room + 1) % sockets.room_count;
            due = begin + (uint64_t)((double)++number * step);
        }
        turn(1);
    }
}

static bool all_ready(void) { return sockets.ready == sockets.count || sockets.closed; }

// How many sockets do not have what the writer of their room has.
static int behind(void) {
    int count = 0;
    for (int i = 0; i < sockets.count; i++) {
        count += sockets.all[i].seq != sockets.all[sockets.rooms[sockets.all[i].room].first].seq;
    }
    return count;
}

static void settle_all(void) {
    uint64_t end = now_ns() + 10 * SECOND;
    while ((counted.replies < counted.sent || behind()) && now_ns() < end) turn(20);
}

static void come_back(double per_second, double patience_seconds) {
    seen.began = now_ns();
    sockets.on_opening = hear_opening;
    for (int i = 0; i < sockets.count; i++) {
        if (!writes(&sockets.all[i])) open_again(&sockets.all[i]);
    }
    write_until(now_ns() + (uint64_t)(patience_seconds * 1e9), per_second, all_ready);
    sockets.on_opening = NULL;
}

void storm(double per_second, double down_seconds, double patience_seconds) {
    reset(hear);
    seen.by_pages = seen.gaps = seen.repeats = 0;
    seen.caught_up.count = 0;
    write_until(now_ns() + WARM_UP, per_second, NULL);
    for (int i = 0; i < sockets.count; i++) {
        if (!writes(&sockets.all[i])) drop(&sockets.all[i]);
    }
    write_until(now_ns() + (uint64_t)(down_seconds * 1e9), per_second, NULL);
    uint64_t used = used_ns();
    come_back(per_second, patience_seconds);
    double took = (double)(now_ns() - seen.began) / 1e9, cpu = (double)(used_ns() - used) / 1e9 / took;
    write_until(now_ns() + WARM_UP, per_second, NULL);
    settle_all();
    printf("{\"sent\":%u,\"replies\":%lu,\"ready\":%d,\"sockets\":%d,\"took\":%.3f,\"by_pages\":%lu,\"gaps\":%lu,"
           "\"repeats\":%lu,\"behind\":%d,\"refused\":%lu,\"closed\":%d,\"client_cpu\":%.3f,",
           counted.sent, counted.replies, sockets.ready, sockets.count, took, seen.by_pages, seen.gaps, seen.repeats,
           behind(), counted.refusals, sockets.closed, cpu);
    print_samples("caught_up_ms", &seen.caught_up);
    printf("}\n");
    fflush(stdout);
}
