// wsload PORT PLAN: one thread, thousands of WebSocket clients, any server.
//
// The plan has a line for each socket: PATH, OPENING, PREFIX, SUFFIX, between tabs. PATH is asked for in the
// upgrade; OPENING is a frame to send once connected, whose "type":"reply" makes the socket ready (none: ready at
// once); a message is PREFIX, 200 bytes of content, SUFFIX.
//
// When all are open it prints a line of JSON, then takes commands from standard input, a line each, and answers
// each with a line of JSON. Between commands the sockets stay open and answer pings. The end of the input ends it.
//
//   window W SENDERS SECONDS  one room: keep W messages in flight, sent by the first SENDERS sockets in turn
//   rate R SECONDS            one room: R messages a second from the first socket; when has the last reader each?
//   rooms SECONDS             many rooms: every socket sends its next message when the last is answered
//
// The content carries the time of sending and a number, so that whatever envelope a server puts around it, each
// delivery is recognised. The first second of a measurement warms up and is not counted.
#define _GNU_SOURCE
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "common.h"
#include "sockets.h"

#define CONTENT_BYTES 200
#define MARK_BYTES 27 // ~T<16 hex: ns>~<8 hex: number>~
#define MESSAGES 4000000
#define OPEN_AT_ONCE 32
#define OPEN_SECONDS 120
#define SECOND 1000000000ull
#define WARM_UP SECOND
// What is silent for so long has lost what is missing.
#define PATIENCE (2 * SECOND)

static uint32_t *readers; // by message number: how many sockets have it
static uint32_t sent;
static uint64_t deliveries, replies, refusals;
static bool recording;
static Samples last_reader; // from the sending of a message until its last reader has it
static Samples answers;     // from the sending of a message until its reply; `rooms` only

static uint64_t hex(const uint8_t *digits, int count) {
    uint64_t value = 0;
    for (int i = 0; i < count; i++) {
        uint8_t c = digits[i];
        value = value << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return value;
}

static void count_deliveries(const uint8_t *payload, size_t length) {
    const uint8_t *end = payload + length, *mark = payload;
    while ((mark = memmem(mark, (size_t)(end - mark), "~T", 2)) && end - mark >= MARK_BYTES) {
        uint64_t sent_at = hex(mark + 2, 16);
        uint32_t number = (uint32_t)hex(mark + 19, 8);
        deliveries++;
        if (number < MESSAGES && ++readers[number] == (uint32_t)sockets.count && recording) {
            add_sample(&last_reader, now_ns() - sent_at);
        }
        mark += MARK_BYTES;
    }
}

static bool refused(const uint8_t *payload, size_t length) {
    if (!memmem(payload, length < 40 ? length : 40, "\"type\":\"error\"", 14)) return false;
    if (!refusals++) fprintf(stderr, "refused: %.*s\n", (int)length, (const char *)payload);
    return true;
}

static bool is_reply(const uint8_t *payload, size_t length) {
    return memmem(payload, length < 40 ? length : 40, "\"type\":\"reply\"", 14) != NULL;
}

static void in_one_room(Socket *socket, const uint8_t *payload, size_t length) {
    (void)socket;
    if (!is_reply(payload, length) && !refused(payload, length)) count_deliveries(payload, length);
}

static void send_message(Socket *socket) {
    char message[4096];
    if (sent == MESSAGES) {
        fprintf(stderr, "more than %d messages\n", MESSAGES);
        exit(2);
    }
    int at = snprintf(message, sizeof message - CONTENT_BYTES, "%s", socket->prefix);
    int content = at;
    at += sprintf(message + at, "~T%016lx~%08x~", (unsigned long)now_ns(), sent++);
    memset(message + at, 'x', (size_t)(CONTENT_BYTES - (at - content)));
    at = content + CONTENT_BYTES;
    at += snprintf(message + at, sizeof message - (size_t)at, "%s", socket->suffix);
    send_text(socket, message, (size_t)at);
}

// What is counted, at one moment.
typedef struct {
    uint64_t at, used, deliveries, replies, bytes;
    uint32_t sent;
} Mark;

static Mark mark(void) {
    return (Mark){now_ns(), used_ns(), deliveries, replies, sockets.bytes_in, sent};
}

static Mark start_recording(void) {
    recording = true;
    last_reader.count = answers.count = 0;
    return mark();
}

static void print_result(Mark start, Mark stop, uint64_t lost) {
    double seconds = (double)(stop.at - start.at) / 1e9;
    sort_samples(&last_reader);
    sort_samples(&answers);
    printf("{\"seconds\":%.3f,\"deliveries\":%lu,\"replies\":%lu,\"sent\":%u,\"total\":%u,\"bytes\":%lu,\"lost\":%lu,"
           "\"refused\":%lu,\"closed\":%d,\"client_cpu\":%.3f,"
           "\"last_reader_ms\":{\"count\":%zu,\"p50\":%.3f,\"p99\":%.3f,\"max\":%.3f},"
           "\"reply_ms\":{\"count\":%zu,\"p50\":%.3f,\"p99\":%.3f,\"max\":%.3f}}\n",
           seconds, stop.deliveries - start.deliveries, stop.replies - start.replies, stop.sent - start.sent, sent,
           stop.bytes - start.bytes, lost, refusals, sockets.closed, (double)(stop.used - start.used) / 1e9 / seconds,
           last_reader.count, percentile(&last_reader, 0.5), percentile(&last_reader, 0.99),
           percentile(&last_reader, 1), answers.count, percentile(&answers, 0.5), percentile(&answers, 0.99),
           percentile(&answers, 1));
    fflush(stdout);
    recording = false;
}

// Wait until everything sent has reached every reader; what has not is returned.
static uint64_t settle(void) {
    uint64_t expected = (uint64_t)sent * (uint64_t)sockets.count, before = deliveries, since = now_ns();
    while (deliveries < expected) {
        turn(20);
        if (deliveries != before) {
            before = deliveries;
            since = now_ns();
        } else if (now_ns() - since > PATIENCE) {
            break;
        }
    }
    return expected - deliveries;
}

// Message numbers begin anew with each measurement.
static void reset(void) {
    memset(readers, 0, (size_t)sent * sizeof *readers);
    sent = 0;
    deliveries = replies = refusals = 0;
}

static void window(uint32_t width, int senders, double seconds) {
    reset();
    sockets.on_text = in_one_room;
    uint64_t begin = now_ns(), end = begin + WARM_UP + (uint64_t)(seconds * 1e9);
    uint64_t in_flight = (uint64_t)width * (uint64_t)sockets.count;
    Mark start = mark();
    while (now_ns() < end && !sockets.closed) {
        if (!recording && now_ns() - begin > WARM_UP) start = start_recording();
        for (uint32_t i = 0; i < width && (uint64_t)sent * (uint64_t)sockets.count - deliveries < in_flight; i++) {
            send_message(&sockets.all[sent % (uint32_t)senders]);
        }
        turn(5);
    }
    Mark stop = mark(); // what comes while it settles is not part of the rate
    print_result(start, stop, settle());
}

static void rate(double per_second, double seconds) {
    reset();
    sockets.on_text = in_one_room;
    uint64_t begin = now_ns(), end = begin + WARM_UP + (uint64_t)(seconds * 1e9), next = begin;
    Mark start = mark();
    while (now_ns() < end && !sockets.closed) {
        if (!recording && now_ns() - begin > WARM_UP) start = start_recording();
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

static bool talking;

static void say(Socket *socket) {
    socket->asked_at = now_ns();
    send_message(socket);
}

static void in_many_rooms(Socket *socket, const uint8_t *payload, size_t length) {
    if (is_reply(payload, length)) {
        replies++;
        if (recording) add_sample(&answers, now_ns() - socket->asked_at);
        socket->asked_at = 0;
        if (talking) say(socket);
    } else if (refused(payload, length)) {
        socket->asked_at = 0;
    } else {
        deliveries += memmem(payload, length, "~T", 2) != NULL;
    }
}

static uint64_t unanswered(void) {
    uint64_t count = 0;
    for (int i = 0; i < sockets.count; i++) count += sockets.all[i].asked_at != 0;
    return count;
}

static void rooms(double seconds) {
    reset();
    sockets.on_text = in_many_rooms;
    talking = true;
    for (int i = 0; i < sockets.count; i++) say(&sockets.all[i]);
    uint64_t begin = now_ns(), end = begin + WARM_UP + (uint64_t)(seconds * 1e9);
    Mark start = mark();
    while (now_ns() < end && !sockets.closed) {
        if (!recording && now_ns() - begin > WARM_UP) start = start_recording();
        turn(5);
    }
    talking = false;
    print_result(start, mark(), 0);
    // The answers that are still owed: the caller compares what is stored with what was sent.
    end = now_ns() + 10 * SECOND;
    while (unanswered() && now_ns() < end) turn(20);
    printf("{\"sent\":%u,\"replies\":%lu,\"unanswered\":%lu,\"deliveries\":%lu}\n", sent, replies, unanswered(),
           deliveries);
    fflush(stdout);
}

static void command(const char *line) {
    unsigned width;
    int senders;
    double per_second, seconds;
    if (sscanf(line, "window %u %d %lf", &width, &senders, &seconds) == 3 && senders > 0 && senders <= sockets.count) {
        window(width, senders, seconds);
    } else if (sscanf(line, "rate %lf %lf", &per_second, &seconds) == 2 && per_second > 0) {
        rate(per_second, seconds);
    } else if (sscanf(line, "rooms %lf", &seconds) == 1) {
        rooms(seconds);
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
    readers = need(calloc(MESSAGES, sizeof *readers));
    uint64_t begin = now_ns();
    open_sockets(atoi(words[1]), OPEN_AT_ONCE, OPEN_SECONDS);
    printf("{\"open\":%d,\"seconds\":%.3f}\n", sockets.ready, (double)(now_ns() - begin) / 1e9);
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
