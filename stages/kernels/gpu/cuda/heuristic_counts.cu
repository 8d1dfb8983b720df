// The integers of which stage `heuristics` forms its facts, as stages/kernels/text/heuristics.py counts them.
//
// A thread has one document; documents come longest first, so that a warp's are alike in length and the longest begin
// at once. What a document needs besides (code points, tokens, hashes, tables) lies in its part of `scratch`. The same
// source is compiled for the host, with one thread, by tests (see device.h).

#include "repetition.h"
#include "tokens.h"

// Readings, the bits of heuristic_facts.Readings.flags.
enum {
    BY_SPACES = 1 << 0,
    SIGNS_IN_SHARES = 1 << 1,
    SIGNS_AS_WORDS = 1 << 2,
    NO_SIGNS = 1 << 3,
    ALL_COPIES = 1 << 4,
    COVERED = 1 << 5,
    OF_UNITS = 1 << 6,
    LONGEST_TOP = 1 << 7,
    EVERY_STOP_WORD = 1 << 8,
    SPACED_ELLIPSES = 1 << 9,
};

// What is counted, in the order of heuristic_counts.COUNTS.
enum {
    WORDS, WORD_CHARS, SHARED_WORDS, TOKENS, ALPHABETIC, STOP_WORDS, HASHES, ELLIPSES, BULLETS, ELLIPSIS_LINES,
    LINES, LINE_CHARS, LINE_COPIES, LINE_COPIED, LATER_CHARS, PARAGRAPHS, PARAGRAPH_CHARS, PARAGRAPH_COPIES,
    PARAGRAPH_COPIED, GRAM_CHARS, GRAMS, PUNCTUATED = GRAMS + 9, SHORT, LONG, BREAKS, SEGMENTS, CURLY, LOREM, SENTENCES,
    CHARS, LONGEST_RUN, LETTERS, CAPITALS, DIGITS, SIGNS, SPACES, BRACKETS, ADDRESSES, COUNT
};

#define LONG_LINE 200

struct StopWords {
    const uint64_t* slots;
    int64_t mask;
    int64_t shortest, longest;
    uint64_t* seen;  // a bit for each slot
};

struct Room {
    uint32_t* points;
    uint16_t* kinds;
    int32_t* starts;
    int32_t* lengths;
    int32_t* breaks;
    uint64_t* hashes;
    uint64_t* sums;
    Table table;
};

// Return the part of the scratch that holds `size` values, and move on behind it.
template <typename T>
__device__ static inline T* taken(uint8_t*& at, int64_t size) {
    T* found = (T*)at;
    at += (size * (int64_t)sizeof(T) + 7) / 8 * 8;
    return found;
}

__device__ static Room room_of(uint8_t*& at, int64_t bytes) {
    Room r;
    r.points = taken<uint32_t>(at, bytes + 1);
    r.kinds = taken<uint16_t>(at, bytes + 1);
    r.starts = taken<int32_t>(at, bytes + 1);
    r.lengths = taken<int32_t>(at, bytes + 1);
    r.breaks = taken<int32_t>(at, bytes + 1);
    r.hashes = taken<uint64_t>(at, bytes + 1);
    r.sums = taken<uint64_t>(at, bytes + 2);
    r.table.keys = taken<uint64_t>(at, 2 * (bytes + 1) + LEAST_SLOTS);
    r.table.counts = taken<int32_t>(at, 2 * (bytes + 1) + LEAST_SLOTS);
    return r;
}

__device__ static bool is_bullet(uint32_t c) {
    switch (c) {
        case 0x2022: case 0x2023: case 0x25B6: case 0x25C0: case 0x25E6: case 0x25A0: case 0x25A1: case 0x25AA:
        case 0x25AB: case 0x2013: case '-': case '*': case 0x25CF: case 0x25CB: case 0x2219: case 0xB7: case 0x2043:
        case 0x204C: case 0x204D: case 0x25D8: case 0x29BE: case 0x29BF:
            return true;
    }
    return false;
}

__device__ static bool is_bracket(uint32_t c) {
    return c == '(' || c == ')' || c == '[' || c == ']' || c == '{' || c == '}' || c == 0x27E8 || c == 0x27E9;
}

__device__ static int64_t slot_of_stop_word(const StopWords& s, uint64_t h) {
    for (int64_t slot = (int64_t)h & s.mask; s.slots[slot]; slot = (slot + 1) & s.mask)
        if (s.slots[slot] == h) return slot;
    return -1;
}

// Count words; write the hashes and lengths of the tokens that n-grams consist of, and return how many there are.
__device__ static int count_words(const Text& t, const Tokens& tokens, const Room& r, const StopWords& stop_words,
                                  const uint32_t* lower, int flags, int64_t* out) {
    int64_t words = 0, chars = 0, alphabetic = 0, every = 0, different = 0;
    int kept = 0;
    for (int k = 0; k < tokens.count; k++) {
        const int first = tokens.starts[k], stop = tokens.stops[k], size = stop - first;
        uint16_t letters = 0;
        bool inside = false, capitals = false;
        for (int i = first; i < stop; i++) {
            const uint16_t kind = t.kinds[i];
            letters |= kind & ALPHA;
            inside |= (kind & (SPACE | WORD)) == WORD;
            capitals |= capital(kind);
        }
        const uint64_t h = hash_of(t.points, first, stop, nullptr);
        r.hashes[kept] = h;
        r.lengths[kept] = size;
        kept += inside || !(flags & NO_SIGNS);
        alphabetic += letters != 0;
        if (inside || (flags & SIGNS_AS_WORDS)) {
            words++;
            chars += size;
        }
        if (size < stop_words.shortest || size > stop_words.longest) continue;
        const int64_t slot =
            slot_of_stop_word(stop_words, capitals ? hash_of(t.points, first, stop, lower) : h);
        if (slot < 0) continue;
        every++;
        const uint64_t bit = 1ull << (slot & 63);
        different += !(stop_words.seen[slot >> 6] & bit);
        stop_words.seen[slot >> 6] |= bit;
    }
    out[WORDS] = words;
    out[WORD_CHARS] = chars;
    out[SHARED_WORDS] = flags & SIGNS_IN_SHARES ? tokens.count : words;
    out[TOKENS] = tokens.count;
    out[ALPHABETIC] = alphabetic;
    out[STOP_WORDS] = flags & EVERY_STOP_WORD ? every : different;
    return kept;
}

__device__ static int ellipsis_at(const Text& t, int i, int flags) {
    if (i + 2 < t.n && t.points[i + 1] == '.' && t.points[i + 2] == '.') return 3;
    return (flags & SPACED_ELLIPSES) && spaced_ellipsis(t, i) ? 5 : 0;
}

// Return where "http" or "https" begins that ends before the "://" at i, -1 for none.
__device__ static int url_before(const Text& t, int i) {
    const uint32_t* p = t.points;
    if (i + 3 >= t.n || p[i + 1] != '/' || p[i + 2] != '/') return -1;
    const int end = i > 0 && (p[i - 1] | 32) == 's' ? i - 1 : i;
    if (end < 4 || (p[end - 1] | 32) != 'p' || (p[end - 4] | 32) != 'h') return -1;
    return (p[end - 2] | 32) == 't' && (p[end - 3] | 32) == 't' ? end - 4 : -1;
}

__device__ static int url_end(const Text& t, int i) {
    while (i < t.n && !(t.kinds[i] & SPACE)) {
        const uint32_t c = t.points[i];
        if (c == '"' || c == ';' || c == '<' || c == '>') break;
        i++;
    }
    return i;
}

// Tell whether "lorem ipsum" stands around the p at i, in any case.
__device__ static bool is_lorem(const Text& t, int i) {
    const char wanted[] = "lorem ipsum";
    const int first = i - 7;
    if (first < 0 || first + 11 > t.n) return false;
    for (int k = 0; k < 11; k++) {
        const uint32_t p = t.points[first + k];
        if ((p >= 'A' && p <= 'Z' ? p + 32 : p) != (uint32_t)wanted[k]) return false;
    }
    return true;
}

// Count signs and kinds of characters; write where line feeds stand, and return how many there are.
__device__ static int count_signs(const Text& t, int flags, int32_t* breaks, int64_t* out) {
    int64_t hashes = 0, ellipses = 0, sentences = 0, brackets = 0, addresses = 0;
    int64_t spaces = 0, letters = 0, capitals = 0, digits = 0, signs = 0;
    bool curly = false, lorem = false;
    int lines = 0, skip = 0, reach = 0, run = 0, longest = 0;
    for (int i = 0; i < t.n; i++) {
        const uint32_t c = t.points[i];
        const uint16_t kind = t.kinds[i];
        run = kind & SPACE ? 0 : run + 1;
        longest = run > longest ? run : longest;
        spaces += (kind & SPACE) != 0;
        letters += (kind & ALPHA) != 0;
        capitals += capital(kind);
        digits += (kind & DECIMAL) != 0;
        signs += sign(kind);
        if (c == '\n') breaks[lines++] = i;
        if (c == 'p' || c == 'P') lorem |= is_lorem(t, i);
        if (!sign(kind)) continue;
        if (c == '.' || c == '!' || c == '?') {
            sentences += i + 1 == t.n || (t.kinds[i + 1] & SPACE);
            if (c == '.' && i >= skip) {
                const int size = ellipsis_at(t, i, flags);
                ellipses += size > 0;
                skip = i + size;
            }
        } else if (c == 0x2026) {
            ellipses++;
        } else if (c == ':') {
            const int begin = i >= reach ? url_before(t, i) : -1;
            if (begin >= reach) {
                reach = url_end(t, i);
                addresses += reach - begin;
            }
        } else {
            hashes += c == '#';
            curly |= c == '{';
            brackets += is_bracket(c);
        }
    }
    out[HASHES] = hashes;
    out[ELLIPSES] = ellipses;
    out[CURLY] = curly;
    out[LOREM] = lorem;
    out[SENTENCES] = sentences;
    out[BRACKETS] = brackets;
    out[ADDRESSES] = addresses;
    out[CHARS] = t.n;
    out[LONGEST_RUN] = longest;
    out[LETTERS] = letters;
    out[CAPITALS] = capitals;
    out[DIGITS] = digits;
    out[SIGNS] = signs;
    out[SPACES] = spaces;
    out[BREAKS] = lines;
    out[SEGMENTS] = lines + (t.n > 0 && t.points[t.n - 1] != '\n');
    return lines;
}

__device__ static bool ends_in_ellipsis(const Text& t, int first, int last, int flags) {
    const uint32_t* p = t.points + last;
    if (p[-1] == 0x2026) return true;
    if (last - first < 3 || p[-1] != '.') return false;
    if (p[-2] == '.') return p[-3] == '.';
    if (!(flags & SPACED_ELLIPSES) || last - first < 5) return false;
    return p[-2] == ' ' && p[-3] == '.' && p[-4] == ' ' && p[-5] == '.';
}

__device__ static void count_lines(const Text& t, Room& r, int breaks, int short_line, int flags, int64_t* out) {
    int64_t lines = 0, chars = 0, bullets = 0, ellipses = 0, punctuated = 0, small = 0, large = 0;
    int64_t copies = 0, copied = 0, later = 0;
    clear(r.table, breaks + 1);
    int start = 0;
    for (int k = 0; k <= breaks; k++) {
        int first = start, last = k < breaks ? r.breaks[k] : t.n;
        start = last + 1;
        strip(t, first, last);
        const int size = last - first;
        if (size <= 0) continue;
        lines++;
        chars += size;
        bullets += is_bullet(t.points[first]);
        ellipses += ends_in_ellipsis(t, first, last, flags);
        punctuated += (t.kinds[last - 1] & TERMINAL) != 0;
        small += size <= short_line;
        large += size >= LONG_LINE;
        const int more = copies_of(r.table, hash_of(t.points, first, last, nullptr), flags & ALL_COPIES);
        copies += more;
        copied += (int64_t)more * size;
        later += more ? size : 0;
    }
    out[LINES] = lines;
    out[LINE_CHARS] = chars;
    out[BULLETS] = bullets;
    out[ELLIPSIS_LINES] = ellipses;
    out[PUNCTUATED] = punctuated;
    out[SHORT] = small;
    out[LONG] = large;
    out[LINE_COPIES] = copies;
    out[LINE_COPIED] = copied;
    out[LATER_CHARS] = later;
}

// Paragraphs are stretches between two or more line breaks.
__device__ static void count_paragraphs(const Text& t, Room& r, int breaks, int flags, int64_t* out) {
    int64_t paragraphs = 0, chars = 0, copies = 0, copied = 0;
    clear(r.table, breaks + 1);
    for (int start = 0, k = 0; start < t.n; k++) {
        while (k < breaks && !(k + 1 < breaks && r.breaks[k + 1] == r.breaks[k] + 1)) k++;
        int first = start, last = k < breaks ? r.breaks[k] : t.n;
        strip(t, first, last);
        if (first < last) {
            paragraphs++;
            chars += last - first;
            const int more = copies_of(r.table, hash_of(t.points, first, last, nullptr), flags & ALL_COPIES);
            copies += more;
            copied += (int64_t)more * (last - first);
        }
        while (k + 1 < breaks && r.breaks[k + 1] == r.breaks[k] + 1) k++;
        start = k < breaks ? r.breaks[k] + 1 : t.n;
    }
    out[PARAGRAPHS] = paragraphs;
    out[PARAGRAPH_CHARS] = chars;
    out[PARAGRAPH_COPIES] = copies;
    out[PARAGRAPH_COPIED] = copied;
}

// N-grams of 2 to 10 of so many tokens. Places and slots take the room of token starts and line breaks.
__device__ static void count_ngrams(Room& r, int tokens, int flags, int64_t* out) {
    out[GRAM_CHARS] = sum_of(r.lengths, 0, tokens);
    for (int width = 2; width <= 10; width++) out[GRAMS + width - 2] = 0;
    r.sums[0] = 0;
    for (int i = 0; i < tokens; i++) r.sums[i + 1] = r.sums[i] * PRIME + r.hashes[i];
    Places p = {r.starts, r.breaks, tokens > 1 ? tokens - 1 : 0};
    for (int i = 0; i < p.found; i++) p.at[i] = i;
    for (int width = 2; width <= 10 && p.found > 0; width++) {
        count_grams(r.sums, p, width, r.table);
        keep_repeated(p, r.table);
        out[GRAMS + width - 2] =
            width < 5 ? top_chars(p, r.lengths, width, r.table, flags & LONGEST_TOP, flags & COVERED, flags & OF_UNITS)
                      : repeated_chars(p, r.lengths, width, r.table, flags & ALL_COPIES, flags & COVERED);
        keep_longer(p);
    }
}

// order: (count) documents to judge. classes, lower: (code points). language: (docs) place among the lists of stop
// words, whose tables lie between stop_bounds in stop_slots. given: bounds (docs + 1) of words found by other means,
// at given_starts, given_stops. scratch: document order[k] has what begins at scratch_at[k]. out: (docs, COUNT).
extern "C" __global__ void heuristic_counts(const uint8_t* data, const int64_t* offsets, const int64_t* order,
                                            int64_t count, const uint16_t* classes, const uint32_t* lower,
                                            const int32_t* language, const uint64_t* stop_slots,
                                            const int64_t* stop_bounds, const int64_t* shortest,
                                            const int64_t* longest, const int64_t* given, const int64_t* given_starts,
                                            const int64_t* given_stops, int short_line, int flags, uint8_t* scratch,
                                            const int64_t* scratch_at, int64_t* out) {
    const int64_t threads = (int64_t)gridDim.x * blockDim.x;
    for (int64_t k = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; k < count; k += threads) {
        const int64_t doc = order[k], bytes = offsets[doc + 1] - offsets[doc];
        uint8_t* at = scratch + scratch_at[k];
        Room r = room_of(at, bytes);
        Text t = {r.points, r.kinds, 0};
        for (int64_t i = offsets[doc]; i < offsets[doc + 1];) {
            const uint32_t point = next_point(data, i);
            r.points[t.n] = point;
            r.kinds[t.n++] = classes[point];
        }
        Tokens tokens = {r.starts, r.lengths, (int)bytes + 1, 0};
        for (int64_t i = given[doc]; i < given[doc + 1]; i++)
            add_token(tokens, (int)given_starts[i], (int)given_stops[i]);
        if (tokens.count == 0 && (flags & BY_SPACES))
            split_by_spaces(t, flags & SPACED_ELLIPSES, tokens);
        else if (tokens.count == 0)
            split_tokens(t, tokens);
        const int64_t list = language[doc], slots = stop_bounds[list + 1] - stop_bounds[list];
        StopWords stop_words = {stop_slots + stop_bounds[list], slots - 1, shortest[list], longest[list],
                                taken<uint64_t>(at, (slots + 63) / 64)};
        for (int64_t i = 0; i < (slots + 63) / 64; i++) stop_words.seen[i] = 0;
        int64_t* counts = out + doc * COUNT;
        const int kept = count_words(t, tokens, r, stop_words, lower, flags, counts);
        const int breaks = count_signs(t, flags, r.breaks, counts);
        count_lines(t, r, breaks, short_line, flags, counts);
        count_paragraphs(t, r, breaks, flags, counts);
        count_ngrams(r, kept, flags, counts);
    }
}
