// When the parts of the accelerator do what, from one event to the next.
//
// Every part is a recurrence: an event comes a fixed number of cycles after the latest of those
// it waits for. Parts advance as far as what is known allows; what decides the order on the bus,
// the choice among clients that could read, is made in order of time, and all it depends on is
// known by then, since memory takes a cycle at least. What has come to repeat itself is not gone
// through again and again: `leap` moves on by whole periods. See docs/cycles.md.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>
#define EXPORT extern "C" __attribute__((visibility("default")))

namespace {

using Time = int64_t;
constexpr Time kNever = INT64_MAX / 4;
constexpr Time kLongAgo = -kNever;
constexpr int64_t kBeat = 16;
constexpr int64_t kInterval = 256;  // of `Machine::interval`, where a beat comes each cycle
constexpr int kDescriptor = 0, kParameter = 1, kWeight = 2, kInput = 3, kClients = 4;
constexpr int kDescriptorBytes = 128;
constexpr int kUnits = 2;  // the array, and the depthwise unit
constexpr int kBanks = 2;
constexpr int kAhead = 4;  // words that the store reads ahead of the bus
constexpr int64_t kWorthwhile = 8;  // commands to come, to look for periods among them
constexpr int64_t kTiles = 17;  // of a period, at most, and one
constexpr int64_t kShort = 8, kLong = 64;  // bursts, and column tiles, of a period, at most

}  // namespace

// What does not change in a run; mirrored by `kernel.py`.
struct Machine {
    int64_t rows, columns, weight_rows;
    int64_t accumulate, revisit, codes;           // of the matrix engine
    int64_t check, split, read, walk, write;      // of the parts around it
    int64_t burst, buffer, outstanding, tiles;  // sizes of their queues
    int64_t latency;                              // of the memory
    int64_t interval;                             // cycles of a beat, in 1/256
    int64_t leaps;                                // whether periods are skipped
};

// One tile: what its descriptor says.
struct Tile {
    int64_t list_address, barrier;
    int64_t input_address, input_rows, input_row_words, input_row_stride;
    int64_t parameters_address, parameter_groups;
    int64_t weights_address, depthwise, weight_bytes, command_units, taps;
    int64_t passes, column_tiles, passes_each;
    int64_t row_units, vectors, pixels, lanes, groups, parts;
    int64_t output_address, output_rows, output_row_bytes, output_row_stride;
};

// What a run comes to; mirrored by `kernel.py`.
struct Totals {
    int64_t cycles, begin, end;  // of all; of the first and the last vector
    int64_t wait_weights, wait_input, wait_results;
    int64_t descriptor_beats, parameter_beats, weight_beats, input_beats, output_beats;
    int64_t vectors, depthwise, passes, weight_rows;  // of all tiles
};

namespace {

constexpr int64_t Totals::*kTotals[] = {
    &Totals::wait_weights,    &Totals::wait_input,   &Totals::wait_results,
    &Totals::descriptor_beats, &Totals::parameter_beats, &Totals::weight_beats,
    &Totals::input_beats,     &Totals::output_beats,
};

// When a tile did what.
struct Times {
    Time taken = kNever, load = kNever, loaded = kNever;
    Time drained = kNever, store = kNever, stored = kNever;
};

// Values by an index that only grows; those further back than its size are forgotten.
class Ring {
  public:
    explicit Ring(int64_t least) {
        int64_t size = 1;
        while (size < least) size *= 2;
        values_.resize(size);
        mask_ = size - 1;
    }
    Time& operator[](int64_t index) { return values_[index & mask_]; }

    // For loops: it need not be looked up again where the values are, whatever is written.
    struct View {
        Time* const values;
        const int64_t mask;
        Time& operator[](int64_t index) const { return values[index & mask]; }
    };
    View view() { return {values_.data(), mask_}; }

    // The first index from one to another whose value, they grow, is later than a time.
    int64_t later(Time time, int64_t first, int64_t end) {
        while (first < end) {
            const int64_t middle = first + (end - first) / 2;
            if ((*this)[middle] > time)
                end = middle;
            else
                first = middle + 1;
        }
        return end;
    }

  private:
    std::vector<Time> values_;
    int64_t mask_;
};

// Cuts commands into bursts, each offered until it is taken.
class Splitter {
  public:
    Splitter(int64_t latency, int64_t burst) : latency_(latency), block_(burst) {}

    bool busy() const { return left_ > 0; }
    int64_t phase() const { return beat_ & (block_ - 1); }
    Time available() const { return available_; }
    int64_t beats() const { return std::min(left_, block_beats()); }
    bool last() const { return left_ <= block_beats(); }

    // Take a command that is offered from a cycle on; return when it is taken.
    Time take(Time offered, int64_t address, int64_t bytes) {
        accepted_ = std::max({offered, accepted_ + 1, before_});
        available_ = std::max(accepted_ + latency_, ended_ + 1);
        beat_ = address / kBeat;
        left_ = (address % kBeat + bytes + kBeat - 1) / kBeat;
        return accepted_;
    }

    // See `Model::visit`; the address matters as far as it decides where a burst ends, and where
    // commands lie one after the other, where those of the next will.
    template <class Visitor>
    void visit(Visitor& visitor, Time floor, bool in_a_row) {
        visitor.count(left_);
        visitor.count(!left_ ? 0 : in_a_row || left_ > block_ ? phase() : beats());
        for (Time* time : {&accepted_, &available_, &ended_, &before_}) visitor.time(*time, floor);
    }

    // The burst at hand goes.
    void issue(Time now) {
        const int64_t count = beats();
        beat_ += count;
        left_ -= count;
        available_ = now + 1;
        if (!left_) {
            before_ = ended_;
            ended_ = now;
        }
    }

  private:
    int64_t block_beats() const { return block_ - (beat_ & (block_ - 1)); }

    int64_t latency_, block_;
    int64_t beat_ = 0, left_ = 0;
    Time accepted_ = -1, available_ = 0;
    Time ended_ = -1, before_ = -1;  // when the last bursts of the two commands before went
};

// A client's buffer: when each of its beats leaves the queue and is given to the client.
struct Buffer {
    Buffer(int64_t depth) : pops(2 * depth) {}

    int64_t reserved = 0;  // beats asked for
    int64_t popped = 0;    // beats out of the queue
    Ring pops;
    bool held = false;
    Time pop = -1, given = -1;

    Time next(Time ready) {
        pop = std::max(ready, held ? given : pop + 1);
        pops[popped++] = pop;
        return pop;
    }

    // As many in a row, one ready each cycle and each given for so many.
    void run(Time ready, int64_t count, int64_t cycles) {
        Time now = next(ready);
        for (int64_t i = 1; i < count; ++i) pops[popped++] = now += cycles;
        pop = now;
        given = now + cycles;
        held = true;
    }
};

struct Beats {
    Time first;
    int64_t count, done;
    bool last;
};

class Model {
  public:
    Model(const Machine& machine, const Tile* tiles, int64_t count)
        : m_(machine),
          tiles_(tiles),
          count_(count),
          times_(count),
          splitters_(kClients, Splitter(m_.split, m_.burst)),
          buffers_(kClients, Buffer(m_.buffer)),
          origins_(m_.outstanding + 1),
          pushes_(2 * m_.weight_rows + 256),
          transfers_(2 * m_.weight_rows + 256),
          completes_(4096 + 2 * m_.weight_rows),
          writer_(m_.split, m_.burst),
          issued_(m_.outstanding + 1),
          answered_(m_.outstanding + 1) {
        walked_.assign(count, kNever);
        weights_taken_.assign(count, kNever);
        drain_taken_.assign(count, kNever);
        freed_.assign(count, kNever);
        parameters_freed_.assign(count, kNever);
    }

    // Return what the run comes to; -1 cycles if it does not end.
    Totals run() {
        do {
            advance();
            if (m_.leaps && walking_ != leapt_tile_) leap_tiles();
            if (m_.leaps && repeats_pay()) leap();
        } while (issue());
        totals_.end = ended_;
        totals_.cycles = stored_ == count_ ? times_[count_ - 1].stored + 1 : -1;
        return totals_;
    }

  private:
    // The bus

    Time ready(int client) {
        const Splitter& splitter = splitters_[client];
        if (!splitter.busy()) return kNever;
        Buffer& buffer = buffers_[client];
        // Room for a whole burst, whatever the length of this one.
        const int64_t least = buffer.reserved - (m_.buffer - m_.burst);
        if (least <= 0) return splitter.available();
        if (least > buffer.popped) return kNever;
        return std::max(splitter.available(), buffer.pops[least - 1] + 1);
    }

    // Announce the next burst; return whether there is one.
    bool issue() {
        Time when[kClients], soonest = kNever;
        for (int client = 0; client < kClients; ++client)
            soonest = std::min(soonest, when[client] = ready(client));
        if (soonest == kNever) return false;
        Time now = std::max(soonest, turn_ + 1);
        if (bursts_ >= m_.outstanding)
            now = std::max(now, origins_[bursts_ - m_.outstanding] + 2);
        int client = 0;
        while (when[client] > now) ++client;
        turn_ = now;

        Splitter& splitter = splitters_[client];
        const int64_t beats = splitter.beats();
        const bool last = splitter.last();
        splitter.issue(now);
        buffers_[client].reserved += beats;
        const Time first = std::max(now + 1 + std::max<Time>(1, m_.latency), bus_free_);
        bus_free_ = first + span(beats);
        origins_[bursts_++] = bus_free_ - 1;
        take(client, {first, beats, 0, last});
        if (last) command(client);
        return true;
    }

    int64_t span(int64_t beats) const { return (beats * m_.interval + 255) >> 8; }
    Time at(const Beats& beats, int64_t index) const {
        return beats.first + (index * m_.interval >> 8);
    }

    void take(int client, const Beats& beats) {
        switch (client) {
            case kDescriptor: take_descriptor(beats); break;
            case kParameter: take_parameters(beats); break;
            case kWeight:
                totals_.weight_beats += beats.count;
                weight_beats_.push_back(beats);
                break;
            default: take_input(beats);
        }
    }

    // Beats that a client takes as they come.
    void give(int client, const Beats& beats) {
        Buffer& buffer = buffers_[client];
        if (m_.interval == kInterval) return buffer.run(beats.first + m_.read - 1, beats.count, 1);
        for (int64_t i = 0; i < beats.count; ++i)
            buffer.run(at(beats, i) + m_.read - 1, 1, 1);
    }

    // Offer the next command of a client whose last one has been announced to its end.
    void command(int client) {
        if (client == kWeight) next_weights();
        if (client == kInput) next_row();
    }

    // Descriptors

    void take_descriptor(const Beats& beats) {
        totals_.descriptor_beats += beats.count;
        give(kDescriptor, beats);
        if (beats.last) checked_ = buffers_[kDescriptor].given + 1 + m_.check;
    }

    bool advance_descriptors() {
        if (asks_ != kNever) {
            if (described_ < count_)
                splitters_[kDescriptor].take(
                    asks_, tiles_[described_].list_address, kDescriptorBytes);
            asks_ = kNever;
            return true;
        }
        if (checked_ == kNever) return false;
        Time now = checked_;
        if (described_ >= m_.tiles) {
            const int64_t i = described_ - m_.tiles;
            const Time latest = std::max({times_[i].load, weights_taken_[i], walked_[i],
                                          drain_taken_[i], times_[i].store});
            if (latest == kNever) return false;
            now = std::max(now, latest + 1);
        }
        times_[described_].taken = now;
        checked_ = kNever;
        ++described_;
        asks_ = now + 1;
        return true;
    }

    // Input and parameters

    bool advance_load() {
        if (loading_ == count_ || times_[loading_].taken == kNever) return false;
        const int64_t i = loading_;
        Time now = times_[i].taken + 1;
        if (i >= 1) now = std::max(now, times_[i - 1].loaded + 1);
        if (i >= kBanks)
            now = std::max({now, freed_[i - kBanks] + 1, parameters_freed_[i - kBanks] + 1});
        if (i >= 1 && tiles_[i].barrier) now = std::max(now, times_[i - 1].stored + 1);
        if (now >= kNever) return false;
        const Tile& tile = tiles_[i];
        times_[i].load = now;
        splitters_[kParameter].take(
            now + 1, tile.parameters_address, tile.parameter_groups * m_.columns * kBeat);
        ++loading_;
        row_ = 0;
        row_offered_ = now + 1;
        next_row();
        rows_done_ = 0;
        parameters_done_ = input_done_ = kNever;
        return true;
    }

    void next_row() {
        const Tile& tile = tiles_[loading_ - 1];
        if (row_ == tile.input_rows) return;
        const int64_t address = tile.input_address + row_ * tile.input_row_stride;
        const int64_t bytes = tile.input_row_words * m_.rows;
        row_offered_ = splitters_[kInput].take(row_offered_, address, bytes) + 1;
        row_shifted_ = address % kBeat;
        row_elements_ = (bytes + kBeat - 1) / kBeat;
        row_beat_ = 0;
        words_left_ = tile.input_row_words;
        ++row_;
    }

    void take_parameters(const Beats& beats) {
        totals_.parameter_beats += beats.count;
        give(kParameter, beats);
        if (beats.last) {
            parameters_done_ = buffers_[kParameter].given;
            finish_load();
        }
    }

    void take_input(const Beats& beats) {
        totals_.input_beats += beats.count;
        Buffer& buffer = buffers_[kInput];
        const int64_t words = std::max<int64_t>(1, kBeat / m_.rows);
        int64_t whole = 0;  // beats that are elements, of all the words they may have
        if (!row_shifted_ && m_.interval == kInterval && words_left_ >= words * beats.count) {
            whole = beats.count;
            buffer.run(beats.first + m_.read - 1, whole, words);
            words_left_ -= words * whole;
            row_beat_ += whole;
        }
        for (int64_t i = whole; i < beats.count; ++i) {
            const Time ready = at(beats, i) + m_.read - 1;
            const bool last = beats.last && i == beats.count - 1;
            const bool extra = last && row_beat_ == row_elements_;
            if (partial_) {
                // The element begun in the beat before ends in this one.
                give_input(std::max(buffer.pop + 1, ready));
                partial_ = false;
            }
            buffer.next(ready);
            if (extra) {
                buffer.held = false;
            } else if (row_shifted_ && !last) {
                partial_ = true;
            } else {
                give_input(buffer.pop + 1);
            }
            ++row_beat_;
        }
        if (beats.last && ++rows_done_ == tiles_[loading_ - 1].input_rows) {
            input_done_ = buffer.given + (m_.rows > kBeat);
            finish_load();
        }
    }

    void give_input(Time now) {
        Buffer& buffer = buffers_[kInput];
        const int64_t words = m_.rows < kBeat ? std::min(kBeat / m_.rows, words_left_) : 1;
        words_left_ -= words;
        buffer.given = now + words - 1;
        buffer.held = true;
    }

    void finish_load() {
        const Time done = std::max(parameters_done_, input_done_);
        if (done < kNever) times_[loading_ - 1].loaded = done + 1;
    }

    // Weights

    int64_t weight_rows(const Tile& tile) const { return tile.depthwise ? tile.taps : m_.rows; }

    bool advance_weight_command() {
        const int64_t i = weights_;
        if (i == count_ || times_[i].taken == kNever) return false;
        Time now = times_[i].taken + 1;
        if (i >= 1) {
            if (weight_pushed_ < weight_asked_) return false;
            now = std::max(now, pushes_[weight_asked_ - 1] + 2);
        }
        weights_taken_[i] = now;
        weight_command_ = 0;
        weight_commands_ = tiles_[i].depthwise ? 1 : tiles_[i].passes;
        weight_asked_ += tiles_[i].passes * weight_rows(tiles_[i]);
        weight_offered_ = now + 2;
        weight_command_tile_ = i;
        ++weights_;
        next_weights();
        return true;
    }

    void next_weights() {
        if (weight_command_ == weight_commands_) return;
        const Tile& tile = tiles_[weight_command_tile_];
        const int64_t address = tile.weights_address + weight_command_ * tile.weight_bytes;
        weight_offered_ =
            splitters_[kWeight].take(weight_offered_, address, tile.weight_bytes) + 1;
        ++weight_command_;
    }

    // Beats from the buffer into rows, and rows into their queue, until what is known ends.
    bool advance_weights() {
        bool moved = push();
        while (weight_next_ < weight_beats_.size()) {
            Beats& beats = weight_beats_[weight_next_];
            const int64_t before = beats.done;
            if (m_.columns > kBeat) {
                while (beats.done < beats.count && gather(beats)) {}
            } else {
                cut(beats, before + 1);
                rows(beats);
                cut(beats, beats.count);
            }
            moved |= beats.done > before;
            if (beats.done < beats.count) return moved;
            if (beats.last) end_weight_command();
            if (++weight_next_ == weight_beats_.size()) {
                weight_beats_.clear();
                weight_next_ = 0;
            }
        }
        return moved;
    }

    // Units of a beat and less: give beats up to one until it is not known when one goes.
    void cut(Beats& beats, int64_t stop) {
        const Tile& tile = tiles_[weight_push_tile_];
        Buffer& buffer = buffers_[kWeight];
        // Copies, which stay in registers.
        const int64_t row_units = tile.row_units, ready = m_.read - 1, transferred = transferred_;
        Time given = buffer.given, pop = buffer.pop, now = unit_time_, row = row_time_;
        int64_t unit = unit_, units = beat_units_, left = tile.command_units - command_units_;
        int64_t pushed = weight_pushed_, complete = weight_complete_, popped = buffer.popped;
        int64_t done = beats.done;
        bool held = buffer.held, open = beat_open_, known = true;
        Time soonest = beat_time_, last = pushed ? pushes_[pushed - 1] : 0;
        while (known && done < stop) {
            if (!open) {
                pop = std::max(at(beats, done) + ready, held ? given : pop + 1);
                buffer.pops[popped++] = pop;
                soonest = pop + 1;
                units = std::min(beat_most_, left);
                open = true;
            }
            for (; units; --units) {
                if (unit == 0 && pushed < complete) {
                    const int64_t room = pushed - (m_.weight_rows - 1);
                    known = room <= transferred;
                    if (!known) break;
                    last = row + 1;
                    if (room >= 0) last = std::max(last, entry(room) + 1);
                    pushes_[pushed++] = last;
                }
                now = std::max(soonest, now + 1);
                if (unit == 0) now = std::max(now, last);
                --left;
                if (++unit == row_units) {
                    unit = 0;
                    row = now;
                    ++complete;
                }
            }
            if (units) break;
            given = now;
            held = true;
            open = false;
            ++done;
        }
        buffer.given = given, buffer.pop = pop, unit_time_ = now, row_time_ = row;
        unit_ = unit, beat_units_ = units, command_units_ = tile.command_units - left;
        weight_pushed_ = pushed, weight_complete_ = complete, buffer.popped = popped;
        beats.done = done, buffer.held = held, beat_open_ = open, beat_time_ = soonest;
    }

    // The same for beats that are whole rows, one each cycle, for as long as the queue has room:
    // what takes most of the time.
    void rows(Beats& beats) {
        Buffer& buffer = buffers_[kWeight];
        const int64_t room = weight_pushed_ - (m_.weight_rows - 1);
        if (beat_most_ != 1 || tiles_[weight_push_tile_].row_units != 1 ||
            m_.interval != kInterval || beat_open_ || !buffer.held || room < 1 ||
            weight_pushed_ + 1 != weight_complete_ || buffer.given != row_time_ ||
            row_time_ != unit_time_)
            return;
        const int64_t count = std::min(beats.count - beats.done, transferred_ - room + 1);
        if (count <= 0) return;
        const auto pops = buffer.pops.view(), pushes = pushes_.view(), moves = transfers_.view();
        const Time ready = beats.first + beats.done + m_.read - 1;
        const int64_t popped = buffer.popped, pushed = weight_pushed_;
        Time now = row_time_, pop = buffer.pop;
        for (int64_t i = 0; i < count; ++i) {
            const Time queued = std::max(pushes[room + i] + 2, moves[room + i - 1] + 1);
            pops[popped + i] = pop = std::max(ready + i, now);
            pushes[pushed + i] = std::max(now + 1, queued);
            now = std::max(now + 1, std::max(ready + i + 1, queued));
        }
        buffer.popped += count, buffer.pop = pop, buffer.given = now;
        unit_time_ = row_time_ = now, beat_time_ = pop + 1;
        weight_pushed_ += count, weight_complete_ += count;
        command_units_ += count, beats.done += count;
    }

    // Units of several beats: take the next one; return false if it is not known when it goes on.
    bool gather(Beats& beats) {
        const Tile& tile = tiles_[weight_push_tile_];
        Buffer& buffer = buffers_[kWeight];
        if (!beat_open_) {
            // The first beat of a unit takes the place of the unit before.
            const Time now = buffer.next(at(beats, beats.done) + m_.read - 1) + 1;
            buffer.given = std::max(now, column_beat_ ? buffer.given + 1 : unit_time_);
            buffer.held = true;
            beat_open_ = true;
        }
        if (column_beat_ + 1 == m_.columns / kBeat) {
            if (unit_ == 0 && weight_pushed_ < weight_complete_ && !push()) return false;
            Time now = std::max(buffer.given + 1, unit_time_ + 1);
            if (unit_ == 0 && weight_pushed_) now = std::max(now, pushes_[weight_pushed_ - 1]);
            unit_time_ = now;
            ++command_units_;
            if (++unit_ == tile.row_units) {
                unit_ = 0;
                row_time_ = now;
                ++weight_complete_;
            }
            column_beat_ = 0;
        } else {
            ++column_beat_;
        }
        beat_open_ = false;
        ++beats.done;
        return true;
    }

    // Put the row that is complete, if one is, into its queue; return whether that could be told.
    bool push() {
        if (weight_pushed_ == weight_complete_) return false;
        Time now = row_time_ + 1;
        const int64_t room = weight_pushed_ - (m_.weight_rows - 1);
        if (room >= 0) {
            if (room > transferred_) return false;
            now = std::max(now, entry(room) + 1);
        }
        pushes_[weight_pushed_++] = now;
        return true;
    }

    // When a row moves to the front of the queue; the row before it must have gone.
    Time entry(int64_t row) {
        const Time before = row ? transfers_[row - 1] : 0;
        return std::max(pushes_[row] + 1, before);
    }

    void end_weight_command() {
        command_units_ = 0;
        const Tile& tile = tiles_[weight_push_tile_];
        if (++weight_push_command_ == (tile.depthwise ? 1 : tile.passes)) {
            weight_push_command_ = 0;
            ++weight_push_tile_;
        }
    }

    // Rows from the queue into the array or the depthwise unit.
    bool advance_transfers() {
        bool moved = false;
        for (;;) {
            if (transfer_tile_ == count_) return moved;
            if (transferred_ == weight_pushed_ && !push()) return moved;
            const Tile& tile = tiles_[transfer_tile_];
            if (transfer_row_ && transferred_) {
                // Rows in the queue follow each other.
                const int64_t stop = std::min(
                    weight_pushed_, transferred_ + weight_rows(tile) - 1 - transfer_row_);
                Time before = transfers_[transferred_ - 1];
                for (int64_t row = transferred_; row < stop; ++row)
                    transfers_[row] = before = std::max(pushes_[row] + 2, before + 1);
                if (stop > transferred_) {
                    transfer_row_ += stop - transferred_;
                    transferred_ = stop;
                    moved = true;
                    if (transferred_ == weight_pushed_) continue;
                }
            }
            const int unit = tile.depthwise ? 1 : 0;
            Time now = entry(transferred_) + 1;
            if (transferred_) now = std::max(now, transfers_[transferred_ - 1] + 1);
            if (transfer_row_ == 0) {
                // The unit takes rows from the swap of the weights it holds.
                if (unit_loaded_[unit] > unit_begun_[unit]) return moved;
                now = std::max(now, unit_swap_[unit]);
            }
            transfers_[transferred_++] = now;
            moved = true;
            if (++transfer_row_ == weight_rows(tile)) {
                transfer_row_ = 0;
                ++unit_loaded_[unit];
                completes_[loaded_passes_++] = now;
                if (++transfer_pass_ == tile.passes) {
                    transfer_pass_ = 0;
                    ++transfer_tile_;
                }
            }
        }
    }

    // Passes

    bool advance_walk() {
        bool moved = false;
        for (;;) {
            const int64_t i = walking_;
            if (i == count_) return moved;
            const Tile& tile = tiles_[i];
            Times& t = times_[i];
            if (walked_[i] == kNever) {
                if (t.taken == kNever) return moved;
                walked_[i] = std::max(t.taken + 1, generated_ + 1);
            }
            if (passes_begun_ == loaded_passes_) return moved;
            const bool begins = pass_ == 0, first = each_ == 0;
            const bool last = each_ == tile.passes_each - 1;
            const Time weights = completes_[passes_begun_] + 1;
            const Time input = begins ? t.loaded + 1 : 0;
            Time results = 0;
            if (first && column_tiles_ >= kBanks) {
                const int64_t before = column_tiles_ - kBanks;
                if (before >= static_cast<int64_t>(half_freed_.size())) return moved;
                results = half_freed_[before] + 1;
            }
            if (input >= kNever) return moved;
            const Time generated = std::max(begun_, walked_[i] + 1);
            const Time offered = generated + 1;
            const Time resumes = std::max(offered, ended_ + 1);
            Time now = std::max({offered, weights, input, results, ended_,
                                 started_ + m_.revisit - 1});
            if (tile.depthwise != unit_now_ && ended_ >= 0)
                now = std::max(now, ended_ + 1 + m_.accumulate);
            totals_.wait_weights += std::max<Time>(0, std::min(now, weights) - resumes);
            totals_.wait_input += std::max<Time>(0, std::min(now, input) - std::max(resumes, weights));
            totals_.wait_results += std::max<Time>(
                0, std::min(now, results) - std::max({resumes, weights, input}));
            generated_ = generated;
            begun_ = now;
            started_ = now + 1;
            ended_ = now + tile.vectors;
            unit_now_ = tile.depthwise;
            const int unit = tile.depthwise ? 1 : 0;
            unit_swap_[unit] = started_ + m_.walk;
            ++unit_begun_[unit];
            ++passes_begun_;
            if (i == 0 && begins) totals_.begin = started_;
            if (first) ++column_tiles_;
            if (last) summed_.push_back((tile.depthwise ? ended_ : started_) + m_.walk);
            moved = true;
            each_ = last ? 0 : each_ + 1;
            if (++pass_ == tile.passes) {
                pass_ = 0;
                freed_[i] = ended_;
                ++walking_;
            }
            advance_transfers();
        }
    }

    // Results

    bool advance_drain() {
        bool moved = false;
        for (;;) {
            const int64_t i = draining_;
            if (i == count_) return moved;
            const Tile& tile = tiles_[i];
            Times& t = times_[i];
            if (drain_taken_[i] == kNever) {
                Time now = t.taken + 1;
                if (i >= 1) now = std::max(now, times_[i - 1].drained + 1);
                if (i >= kBanks) now = std::max(now, times_[i - kBanks].stored + 1);
                if (now >= kNever) return moved;
                drain_taken_[i] = now;
                drain_free_ = now + 1;
                drain_tile_ = 0;
                moved = true;
            }
            if (drained_tiles_ == static_cast<int64_t>(summed_.size())) return moved;
            const Time now = std::max(drain_free_, summed_[drained_tiles_] + m_.accumulate + 1);
            const bool last = drain_tile_ == tile.column_tiles - 1;
            const int64_t each = last ? tile.groups - drain_tile_ * tile.lanes : tile.lanes;
            const Time freed = now + tile.lanes + tile.pixels * each * tile.parts;
            half_freed_.push_back(freed);
            ++drained_tiles_;
            drain_free_ = freed + 1;
            moved = true;
            if (last) {
                parameters_freed_[i] = freed;
                t.drained = freed + 1 + m_.codes;
                ++draining_;
            } else {
                ++drain_tile_;
            }
        }
    }

    // Output

    bool advance_store() {
        const int64_t i = stored_;
        if (i == count_ || times_[i].drained == kNever) return false;
        Times& t = times_[i];
        t.store = std::max(t.drained, i ? times_[i - 1].stored : -1) + 1;
        store(tiles_[i], t);
        ++stored_;
        return true;
    }

    void store(const Tile& tile, Times& t) {
        const int64_t cut = std::max<int64_t>(1, m_.columns / kBeat);
        const int64_t gather = std::max<int64_t>(1, kBeat / m_.columns);
        Time word_pops[kAhead] = {-kAhead, -kAhead, -kAhead, -kAhead};
        Time read = t.store, offered = t.store + 1;
        Time consumed = -1, given = -1;  // when the last word, and the last element, went on
        int64_t word = 0;
        const auto next_word = [&] {
            read = std::max(read + 1, word_pops[word % kAhead] + 1);
            return read + 2;
        };
        const auto pop_word = [&](Time now) {
            word_pops[word++ % kAhead] = now;
            consumed = now;
        };
        for (int64_t row = 0; row < tile.output_rows; ++row) {
            const int64_t address = tile.output_address + row * tile.output_row_stride;
            const int64_t elements = (tile.output_row_bytes + kBeat - 1) / kBeat;
            int64_t words_left = (tile.output_row_bytes + m_.columns - 1) / m_.columns;
            int64_t element = 0, cut_left = 0;
            Time available = 0;
            offered = writer_.take(offered, address, tile.output_row_bytes) + 1;
            while (writer_.busy()) {
                Time valid = writer_.available();
                const int64_t beats = writer_.beats();
                if (writes_ >= m_.outstanding)
                    valid = std::max(valid, issued_[writes_ - m_.outstanding] + 1);
                for (int64_t beat = 0; beat < beats; ++beat) {
                    Time now = std::max(valid, filled_ + 1);
                    if (element == elements) {
                        filled_ = now;  // the beat that only ends what the one before began
                        continue;
                    }
                    if (cut > 1 || gather == 1) {
                        if (!cut_left) {
                            available = next_word();
                            cut_left = words_left > 1 ? cut : (elements - 1) % cut + 1;
                        }
                        now = std::max(now, available);
                        if (--cut_left == 0) {
                            pop_word(now);
                            --words_left;
                        }
                    } else {
                        for (int64_t k = 0; k < gather && words_left; ++k, --words_left) {
                            Time taken = std::max(next_word(), consumed + 1);
                            if (k == 0) taken = std::max(taken, given);
                            pop_word(taken);
                        }
                        now = std::max(now, consumed + 1);
                    }
                    filled_ = given = now;
                    ++element;
                }
                writer_.issue(filled_);
                announce(beats);
            }
        }
        t.stored = acknowledged_;
    }

    // A burst whose data are all there goes to memory, and is acknowledged.
    void announce(int64_t beats) {
        Time now = std::max({filled_ + m_.write - 2, announced_ + 1, written_});
        if (writes_ >= m_.outstanding) now = std::max(now, answered_[writes_ - m_.outstanding] + 1);
        announced_ = now;
        written_ = now + span(beats);
        const Time arrives = std::max(written_ + 1 + std::max<Time>(1, m_.latency), response_ + 1);
        response_ = arrives;
        acknowledged_ = arrives + 1;
        issued_[writes_] = now;
        answered_[writes_] = acknowledged_;
        ++writes_;
        totals_.output_beats += beats;
    }

    // Periods

    // Show a visitor all that what comes next depends on: times, and counts. What grows with the
    // passes is shown relative to them.
    template <class Visitor>
    void visit(Visitor& visitor) {
        // No pass to come begins before this, no column tile is drained and no tile stored: times
        // that only they wait for have no effect from here on back.
        const Time walk = begun_, turn = turn_;
        const bool sums_wait = drained_tiles_ < static_cast<int64_t>(summed_.size());
        for (int client = 0; client < kClients; ++client)
            splitters_[client].visit(visitor, kLongAgo, client == kWeight);
        writer_.visit(visitor, walk, false);
        for (Buffer& buffer : buffers_) {
            visitor.count(buffer.reserved - buffer.popped);
            visitor.count(buffer.held);
            visitor.time(buffer.pop);
            visitor.time(buffer.given);
            const int64_t needed = buffer.reserved - (m_.buffer - m_.burst) - 1;
            visitor.ring(buffer.pops, needed, buffer.popped, turn);
        }
        visitor.ring(origins_, bursts_ - m_.outstanding, bursts_, turn - 1);
        visitor.ring(issued_, writes_ - m_.outstanding, writes_, walk);
        visitor.ring(answered_, writes_ - m_.outstanding, writes_, walk);
        // The last row into the queue and the last out of it; and those before, as far as a row that
        // is complete, or the next one out, could wait for them.
        const int64_t oldest = std::min(weight_pushed_ - m_.weight_rows, transferred_);
        const int64_t in = weight_pushed_ - 1, out = transferred_ - 1;
        const Time row = row_time_, moved = out < 0 ? kLongAgo : transfers_[out];
        visitor.ring(pushes_, oldest, in, std::min(row, moved) - 1);
        visitor.ring(transfers_, oldest - 1, out, row);
        if (in >= 0) visitor.time(pushes_[in]);
        if (out >= 0) visitor.time(transfers_[out]);
        visitor.ring(completes_, passes_begun_, loaded_passes_);
        for (size_t i = weight_next_; i < weight_beats_.size(); ++i) {
            visitor.time(weight_beats_[i].first);
            visitor.count(weight_beats_[i].count);
            visitor.count(weight_beats_[i].done);
            visitor.count(weight_beats_[i].last);
        }
        for (size_t i = drained_tiles_; i < summed_.size(); ++i) visitor.time(summed_[i]);
        for (size_t i = std::max<int64_t>(0, column_tiles_ - kBanks); i < half_freed_.size(); ++i)
            visitor.time(half_freed_[i], walk);
        for (Time* time :
             {&turn_, &bus_free_, &asks_, &checked_, &row_offered_, &parameters_done_,
              &input_done_, &weight_offered_, &unit_time_, &row_time_, &beat_time_,
              &unit_swap_[0], &unit_swap_[1], &generated_, &begun_, &started_})
            visitor.time(*time);
        visitor.time(drain_free_, sums_wait ? kLongAgo : walk);
        for (Time* time : {&filled_, &announced_, &written_, &response_, &acknowledged_})
            visitor.time(*time, walk);
        // Of tiles, what has happened only once: long ago, or not at all, if states are equal.
        for (int64_t i = walking_ - m_.tiles; i < described_; ++i) {
            if (i < 0) {
                for (int k = 0; k < 11; ++k) visitor.past();
                continue;
            }
            Times& t = times_[i];
            if (i != walking_ || pass_ > 0 || walked_[i] == kNever) visitor.time(walked_[i]);
            for (Time* time : {&t.taken, &t.load, &t.loaded, &t.drained, &t.store, &t.stored,
                               &weights_taken_[i], &drain_taken_[i], &freed_[i],
                               &parameters_freed_[i]})
                visitor.time(*time);
        }
        // How long the walker has waited is counted, however long that is.
        visitor.exact(ended_);
        if (walking_ < count_ && pass_ == 0 && walked_[walking_] != kNever)
            visitor.exact(walked_[walking_]);
        const int64_t column_tile = (pass_ - each_) / passes_each();
        for (int64_t count :
             {described_ - walking_, loading_ - walking_, weights_ - walking_,
              draining_ - walking_, stored_ - walking_, weight_command_tile_ - walking_,
              weight_push_tile_ - walking_, transfer_tile_ - walking_, row_, rows_done_, row_beat_,
              row_elements_, words_left_, int64_t(row_shifted_), int64_t(partial_),
              int64_t(weight_commands_ > weight_command_), weight_command_ - pass_,
              weight_push_command_ - pass_, transfer_pass_ - pass_, transfer_row_, unit_,
              beat_units_, command_units_, column_beat_, int64_t(beat_open_),
              weight_complete_ - weight_pushed_, weight_pushed_ - transferred_,
              loaded_passes_ - passes_begun_, unit_loaded_[0] - unit_begun_[0],
              unit_loaded_[1] - unit_begun_[1], unit_now_, column_tile - drain_tile_,
              column_tiles_ - drained_tiles_, int64_t(summed_.size()) - drained_tiles_,
              int64_t(half_freed_.size()) - drained_tiles_})
            visitor.count(count);
    }

    int64_t passes_each() const {
        return walking_ < count_ ? tiles_[walking_].passes_each : 1;
    }

    // Whether all that goes on is passes of one tile, with many to come.
    bool repeats_pay() const {
        return walking_ < count_ && weight_command_tile_ == walking_ &&
               weight_push_tile_ == walking_ && transfer_tile_ == walking_ &&
               weight_commands_ - weight_command_ > kWorthwhile && !splitters_[kInput].busy() &&
               !splitters_[kParameter].busy() && !splitters_[kDescriptor].busy();
    }

    // A list that is filled anew again and again.
    class Values {
      public:
        void clear() { size_ = 0; }
        void reserve(size_t more) {
            if (size_ + more > data_.size()) data_.resize(2 * (size_ + more));
        }
        // There must be room.
        void add(int64_t value) { data_[size_++] = value; }
        bool operator==(const Values& other) const {
            return size_ == other.size_ &&
                   !std::memcmp(data_.data(), other.data_.data(), size_ * sizeof(int64_t));
        }

      private:
        std::vector<int64_t> data_;
        size_t size_ = 0;
    };

    // A state, times relative to its last burst.
    struct State {
        Values values;
        uint64_t key = 0;
        Time reference = 0;
        int64_t tile = -1, pass = 0, column_tiles = 0;
        Totals counted{};
    };

    // The keys of the last states of a tile; and, where a key has come again after `period` steps,
    // the state that it came with, to be compared with what is as many steps on.
    struct Watch {
        const int64_t longest;
        int64_t tile = -1, steps = 0, period = 0, due = 0;
        uint64_t keys[kLong]{};
        State state{};
    };

    struct Recorder {
        State& state;
        Time oldest;  // what is older has no effect any more
        static constexpr size_t kOnce = 256;  // members that there is one of
        void time(Time& value, Time floor = kLongAgo) {
            const Time since = value == kNever ? kNever : std::max(value, floor) - state.reference;
            state.values.add(std::max(since, oldest));
        }
        void exact(Time& value) { count(value - state.reference); }
        void past() { count(oldest); }
        void count(int64_t value) { state.values.add(value); }
        // What has not been is as if it were long ago; it and all that is comes first.
        void ring(Ring& ring, int64_t first, int64_t end, Time floor = kLongAgo) {
            count(end - first);
            const Time latest_old = std::max(floor, oldest + state.reference);
            first = ring.later(latest_old, std::max<int64_t>(0, first), end);
            count(end - first);
            state.values.reserve(end - first + kOnce);
            for (; first < end; ++first) state.values.add(ring[first] - state.reference);
        }
    };

    struct Mover {
        Time latest_old, by;
        void time(Time& value, Time floor = kLongAgo) {
            if (value != kNever && value > std::max(latest_old, floor)) value += by;
        }
        void exact(Time& value) { value += by; }
        void past() {}
        void count(int64_t) {}
        void ring(Ring& ring, int64_t first, int64_t end, Time floor = kLongAgo) {
            first = ring.later(std::max(latest_old, floor), std::max<int64_t>(0, first), end);
            for (; first < end; ++first) ring[first] += by;
        }
    };

    // The same in states that are equal, and seldom else.
    uint64_t key() const {
        uint64_t key = splitters_[kWeight].phase();
        const auto add = [&](int64_t value) {
            key = (key ^ static_cast<uint64_t>(value)) * 0x9e3779b97f4a7c15u;
            key ^= key >> 32;
        };
        for (Time time : {started_, bus_free_, unit_time_, std::max(begun_, drain_free_),
                          std::max(begun_, acknowledged_), buffers_[kInput].given,
                          buffers_[kParameter].given})
            add(std::max(time - turn_, -oldest_));
        add(weight_command_ - pass_);
        add(weight_pushed_ - transferred_);
        add(described_ - draining_);
        return key;
    }

    void record(State& state, uint64_t key) {
        state.values.clear();
        const int64_t few = weight_beats_.size() - weight_next_ + described_ - walking_ + m_.tiles;
        state.values.reserve(2 * Recorder::kOnce + 16 * few + summed_.size() - drained_tiles_);
        state.key = key;
        state.reference = turn_;
        state.tile = walking_;
        state.pass = pass_;
        state.column_tiles = column_tiles_;
        state.counted = totals_;
        Recorder recorder{state, -oldest_};
        visit(recorder);
    }

    // Where a tile begins as one before did, and those to come are like those from that one on, go
    // on by as many periods of tiles as there are.
    void leap_tiles() {
        leapt_tile_ = walking_;
        if (walking_ == count_) return;
        const uint64_t here = key();
        State& now = begun_tiles_[walking_ % kTiles];
        record(now, here);
        for (int64_t period = 1; period < kTiles && period < walking_; ++period) {
            const State& state = begun_tiles_[(walking_ - period) % kTiles];
            if (state.tile != walking_ - period || state.key != here || state.pass != pass_ ||
                !(state.values == now.values))
                continue;
            int64_t like = std::min(draining_, stored_);
            while (like < count_ && like >= period && alike(tiles_[like], tiles_[like - period]))
                ++like;
            const int64_t periods = (like - described_ - 1) / period;
            if (periods > 0) move_tiles(state, period * periods, periods);
            return;
        }
    }

    // Whether tiles take the same time from equal states.
    bool alike(const Tile& one, const Tile& other) const {
        Tile same = other;
        same.list_address = one.list_address;
        same.input_address = one.input_address;
        same.output_address = one.output_address;
        const auto phase = [&](int64_t address) { return address & (m_.burst * kBeat - 1); };
        const auto list = [&](int64_t address) {
            const int64_t start = phase(address);
            return start + kDescriptorBytes <= m_.burst * kBeat ? 0 : start;
        };
        return !std::memcmp(&same, &one, sizeof(Tile)) &&
               phase(one.input_address) == phase(other.input_address) &&
               phase(one.output_address) == phase(other.output_address) &&
               list(one.list_address) == list(other.list_address);
    }

    void move_tiles(const State& from, int64_t skipped, int64_t periods) {
        const Time by = periods * (turn_ - from.reference);
        Mover mover{turn_ - oldest_, by};
        visit(mover);
        // What tiles have done is that of as many tiles further on.
        for (int64_t i = described_ - 1; i >= std::max<int64_t>(0, walking_ - m_.tiles); --i) {
            times_[i + skipped] = times_[i];
            for (auto* list :
                 {&walked_, &weights_taken_, &drain_taken_, &freed_, &parameters_freed_})
                (*list)[i + skipped] = (*list)[i];
        }
        for (int64_t* place : {&described_, &loading_, &weights_, &walking_, &draining_, &stored_,
                               &weight_command_tile_, &weight_push_tile_, &transfer_tile_})
            *place += skipped;
        leapt_tile_ = walking_;
        for (State& state : begun_tiles_) state.tile = -1;
        for (auto member : kTotals)
            totals_.*member += periods * (totals_.*member - from.counted.*member);
    }

    // Where the state is one that has been, go on by as many periods as there are: of passes, or
    // of whole column tiles, for which it is enough to look where one begins.
    void leap() {
        const uint64_t here = key();
        const bool begins = column_tiles_ != leapt_column_tiles_;
        leapt_column_tiles_ = column_tiles_;
        if ((begins && repeats(far_, here)) || repeats(near_, here)) near_.tile = -1;
    }

    bool repeats(Watch& watch, uint64_t here) {
        if (watch.tile != walking_) {
            watch.tile = walking_;
            watch.steps = watch.period = 0;
        }
        const int64_t step = watch.steps++;
        if (watch.period && step == watch.due) {
            if (watch.state.key == here) {
                record(now_, here);
                if (now_.values == watch.state.values && move(watch.state)) {
                    watch.tile = -1;
                    return true;
                }
                std::swap(watch.state, now_);
                watch.due = step + watch.period;
            } else {
                watch.period = 0;
            }
        }
        if (!watch.period) {
            const int64_t longest = std::min(step, watch.longest);
            for (int64_t period = 1; period <= longest && !watch.period; ++period)
                if (watch.keys[(step - period) % watch.longest] == here) watch.period = period;
            if (watch.period) {
                record(watch.state, here);
                watch.due = step + watch.period;
            }
        }
        watch.keys[step % watch.longest] = here;
        return false;
    }

    bool move(const State& from) {
        const Tile& tile = tiles_[walking_];
        const int64_t each = passes_each(), passes = pass_ - from.pass;
        int64_t most = weight_commands_ - 1 - weight_command_;
        if (passes % each == 0) {
            most = std::min(most, tile.passes - each - 1 - pass_);
        } else if (column_tiles_ == from.column_tiles && pass_ % each > 0) {
            // Neither a first nor a last pass is among them.
            most = std::min(most, each - 2 - pass_ % each);
        } else {
            return false;
        }
        const int64_t periods = most / passes;
        if (periods <= 0) return false;
        Mover mover{turn_ - oldest_, periods * (turn_ - from.reference)};
        visit(mover);
        const int64_t skipped = periods * passes;
        weight_command_ += skipped;
        weight_push_command_ += skipped;
        transfer_pass_ += skipped;
        weight_asked_ -= skipped * m_.rows;
        drain_tile_ += (pass_ + skipped) / each - pass_ / each;
        pass_ += skipped;
        each_ = pass_ % each;
        for (auto member : kTotals)
            totals_.*member += periods * (totals_.*member - from.counted.*member);
        return true;
    }

    void advance() {
        bool moved;
        do {
            moved = advance_descriptors();
            moved |= advance_load();
            moved |= advance_weight_command();
            moved |= advance_weights();
            moved |= advance_transfers();
            moved |= advance_walk();
            moved |= advance_drain();
            while (advance_store()) moved = true;
        } while (moved);
    }

    const Machine m_;
    const Tile* tiles_;
    const int64_t count_;
    std::vector<Times> times_;
    Totals totals_{};

    std::vector<Splitter> splitters_;
    std::vector<Buffer> buffers_;
    Time turn_ = -1, bus_free_ = 0;
    int64_t bursts_ = 0;
    Ring origins_;

    int64_t described_ = 0;
    Time asks_ = 1, checked_ = kNever;

    int64_t loading_ = 0, row_ = 0, rows_done_ = 0, row_beat_ = 0, row_elements_ = 0;
    int64_t words_left_ = 0;
    bool partial_ = false, row_shifted_ = false;
    Time row_offered_ = 0, parameters_done_ = kNever, input_done_ = kNever;

    int64_t weights_ = 0, weight_command_ = 0, weight_commands_ = 0, weight_command_tile_ = 0;
    int64_t weight_asked_ = 0, weight_pushed_ = 0, weight_complete_ = 0;
    Time weight_offered_ = 0;
    const int64_t beat_most_ = kBeat / m_.columns;  // units of a beat; 0: a unit is several
    std::vector<Beats> weight_beats_;
    size_t weight_next_ = 0;
    int64_t weight_push_tile_ = 0, weight_push_command_ = 0;
    int64_t unit_ = 0, beat_units_ = 0, command_units_ = 0, column_beat_ = 0;
    bool beat_open_ = false;
    Time unit_time_ = -1, row_time_ = -1, beat_time_ = -1;
    Ring pushes_, transfers_, completes_;
    int64_t transferred_ = 0, transfer_tile_ = 0, transfer_row_ = 0, transfer_pass_ = 0;
    int64_t loaded_passes_ = 0, passes_begun_ = 0;
    int64_t unit_loaded_[kUnits] = {0, 0}, unit_begun_[kUnits] = {0, 0};
    Time unit_swap_[kUnits] = {0, 0};

    int64_t walking_ = 0, pass_ = 0, each_ = 0, column_tiles_ = 0, unit_now_ = 0;
    Time generated_ = -1, begun_ = -1, started_ = -(1 << 20), ended_ = -1;
    std::vector<Time> walked_, weights_taken_, drain_taken_, freed_, parameters_freed_;
    std::vector<Time> summed_, half_freed_;

    int64_t draining_ = 0, drain_tile_ = 0, drained_tiles_ = 0;
    Time drain_free_ = 0;

    State now_;
    Watch near_{.longest = kShort}, far_{.longest = kLong};
    int64_t leapt_column_tiles_ = 0, leapt_tile_ = 0;
    State begun_tiles_[kTiles];
    const Time oldest_ = m_.accumulate + m_.revisit + m_.codes + m_.check + m_.rows + 64;

    int64_t stored_ = 0, writes_ = 0;
    Splitter writer_;
    Time filled_ = -1, announced_ = -1, written_ = -1, response_ = -1, acknowledged_ = -1;
    Ring issued_, answered_;
};

}  // namespace

EXPORT void cycles_run(const Machine* machine, const Tile* tiles, Totals* totals, int64_t count) {
    *totals = Model(*machine, tiles, count).run();
    for (const Tile* tile = tiles; tile < tiles + count; ++tile) {
        (tile->depthwise ? totals->depthwise : totals->vectors) += tile->passes * tile->vectors;
        totals->passes += tile->passes;
        totals->weight_rows += tile->passes * (tile->depthwise ? tile->taps : machine->rows);
    }
}
