// wsload PORT PLAN: one thread, thousands of WebSocket clients, any server.
//
// The plan has a line for each socket: DIALECT, ROOM, PATH, OPENING, PREFIX, SUFFIX, REACTION, between tabs. DIALECT is
// how the server speaks inside frames: plain, veza or socket.io (sockets.h). ROOM numbers the rooms from 0; the sockets
// of one follow one another. PATH is asked for in the upgrade; OPENING is a frame to send once connected (veza); a
// message is PREFIX, 200 bytes of content, SUFFIX; REACTION is a frame, for `live`.
//
// When all are open it prints a line of JSON, then takes commands from standard input, a line each, and answers
// each with a line of JSON. Between commands the sockets stay open and answer pings. The end of the input ends it.
//
//   window W SENDERS SECONDS  one room: keep W messages in flight, sent by the first SENDERS sockets in turn
//   rate R SECONDS            one room: R messages a second from the first socket; when has the last reader each?
//   rooms SECONDS             each room has one message waiting for its reply; then the next of its sockets writes
//   pace R SECONDS ROOMS      R messages a second over the first ROOMS rooms, whatever the replies do
//   round                     one message in each room; has everybody got it?
//   storm R DOWN PATIENCE     R messages a second from the first socket of each room; the others are cut, stay away
//                             for DOWN seconds and come back at once, each asking for what it missed
//   live R S SECONDS TALKERS  one stream: R messages a second from so many of its sockets in turn, S reactions from all
//
// After `rooms`, `pace` and `live` a second line tells the totals. The first second of a measurement warms up and is not
// counted.
#define _GNU_SOURCE
#include <string.h>
#include <unistd.h>

#include "counting.h"

#define OPEN_AT_ONCE 32
#define OPEN_SECONDS 120

static void in_one_room(Socket *socket, const uint8_t *payload, size_t length) {
    if (take_reply(socket, payload, length) || refused(socket, payload, length)) return;
    count_deliveries(socket, payload, length);
}

static void window(uint32_t width, int senders, double seconds) {
    reset(in_one_room);
    uint64_t begin = now_ns(), end = begin + WARM_UP + (uint64_t)(seconds * 1e9);
    uint64_t in_flight = (uint64_t)width * (uint64_t)sockets.count;
    Mark start = mark();
    while (now_ns() < end && !sockets.closed) {
        if (!counted.recording && now_ns() - begin > WARM_UP) start = start_recording();
        for (uint32_t i = 0; i < width && counted.expected - counted.deliveries < in_flight; i++) {
            send_message(&sockets.all[counted.sent % (uint32_t)senders]);
        }
        turn(5);
    }
    Mark stop = mark(); // what comes while it settles is not part of the rate
    print_result(start, stop, settle());
}

static void rate(double per_second, double seconds) {
    reset(in_one_room);
    uint64_t begin = now_ns(), end = begin + WARM_UP + (uint64_t)(seconds * 1e9), next = begin;
    Mark start = mark();
    while (now_ns() < end && !sockets.closed) {
        if (!counted.recording && now_ns() - begin > WARM_UP) start = start_recording();
        if (now_ns() >= next) {
            send_message(&sockets.all[0]);
            next += (uint64_t)(1e9 / per_second);
        }
        uint64_t now = now_ns();
        // A wait of whole milliseconds would make the sender late; the last one is spun.
        turn(next > now + 1000000 ? (int)((next - now) / 1000000) : 0);
    }
    Mark stop = mark();
    print_result(start, stop, settle());
}

static void command(const char *line) {
    unsigned width;
    int whole;
    double per_second, reactions, seconds, patience;
    if (sscanf(line, "window %u %d %lf", &width, &whole, &seconds) == 3 && whole > 0 && whole <= sockets.count) {
        window(width, whole, seconds);
    } else if (sscanf(line, "rate %lf %lf", &per_second, &seconds) == 2 && per_second > 0) {
        rate(per_second, seconds);
    } else if (sscanf(line, "rooms %lf", &seconds) == 1) {
        talk_in_rooms(seconds);
    } else if (sscanf(line, "pace %lf %lf %d", &per_second, &seconds, &whole) == 3 && per_second > 0 && whole > 0 &&
               whole <= sockets.room_count) {
        pace_rooms(per_second, seconds, whole);
    } else if (!strcmp(line, "round")) {
        round_of_rooms();
    } else if (sscanf(line, "storm %lf %lf %lf", &per_second, &seconds, &patience) == 3 && per_second > 0) {
        storm(per_second, seconds, patience);
    } else if (sscanf(line, "live %lf %lf %lf %d", &per_second, &reactions, &seconds, &whole) == 4 && whole > 0 &&
               whole <= sockets.count) {
        watch_live(per_second, reactions, seconds, whole);
    } else {
        fprintf(stderr, "no such command: %s\n", line);
        exit(2);
    }
}

int main(int count, char **words) {
    if (count != 3) {
        fprintf(stderr, "usage: wsload PORT PLAN\n");
        return 2;
    }
    read_plan(words[2]);
    start_counting();
    uint64_t begin = now_ns();
    open_sockets(atoi(words[1]), OPEN_AT_ONCE, OPEN_SECONDS);
    printf("{\"open\":%d,\"rooms\":%d,\"seconds\":%.3f}\n", sockets.ready, sockets.room_count,
           (double)(now_ns() - begin) / 1e9);
    fflush(stdout);
    char line[256];
    size_t length = 0;
    for (;;) {
        if (!turn(1000)) continue;
        ssize_t received = read(STDIN_FILENO, line + length, sizeof line - 1 - length);
        if (received <= 0) return 0;
        length += (size_t)received;
        line[length] = 0;
        if (!strchr(line, '\n')) continue;
        line[strcspn(line, "\n")] = 0;
        length = 0;
        command(line);
    }
}
