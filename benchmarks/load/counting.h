// What is sent and what arrives, counted; the results of a measurement.
#pragma once

#include "common.h"
#include "sockets.h"

#define SECOND 1000000000ull
#define WARM_UP SECOND

// What is counted, at one moment.
typedef struct {
    uint64_t at, used, deliveries, replies, bytes;
    uint32_t sent;
} Mark;

// Since `reset`. `expected` deliveries: each message to every socket of its room.
typedef struct {
    uint64_t began, settled_at; // the reset, and the last delivery
    uint32_t sent;
    uint64_t expected, deliveries, replies, refusals;
    uint64_t busy;       // messages that another socket sent, since the one whose turn it was still waited
    bool recording;      // of the samples below
    Samples last_reader; // from the sending of a message until the last reader of its room has it
    Samples answers;     // from the moment a message was due until its reply
    Samples each;        // from the sending of a message until a reader has it; of one socket in `one_in`
    uint32_t one_in;     // 0: of none
    uint32_t first;      // the number of the first message that was sent while recording
} Counted;

extern Counted counted;

void start_counting(void);

// Message numbers begin anew with each measurement.
void reset(OnText *on_text);

// Send the next message from this socket: the time and a number in 200 bytes, by which each delivery is recognised
// whatever is around it.
void send_message(Socket *socket);

void count_deliveries(const Socket *socket, const uint8_t *payload, size_t length);

// Whether this answers a message. The reply is counted, and what the sender waited since `asked_at` when that is set.
bool take_reply(Socket *socket, const uint8_t *payload, size_t length);

bool refused(const Socket *socket, const uint8_t *payload, size_t length);

Mark mark(void);

// The warm-up is over.
Mark start_recording(void);

// Wait until everything sent has reached every reader; the number of deliveries that have not.
uint64_t settle(void);

// One line of JSON.
void print_result(Mark start, Mark stop, uint64_t lost);

void print_samples(const char *name, Samples *samples);

// The measurements that are not of one room alone.
void talk_in_rooms(double seconds);
void pace_rooms(double per_second, double seconds, int rooms);
void round_of_rooms(void);
void storm(double per_second, double down_seconds, double patience_seconds);
void watch_live(double messages, double reactions, double seconds, int talkers);
