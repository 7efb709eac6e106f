package redis

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/redis/internal/pack"
	"pgregory.net/rapid"
)

// listed is content that was never packed.
type listed []string

func (l listed) size() (messages, bytes int) { return len(l), 0 }
func (l listed) unpack(buf []pack.Message) ([]pack.Message, error) {
	for _, id := range l {
		buf = append(buf, pack.Message{UUID: id, Metadata: message.Metadata{}})
	}
	return buf, nil
}

// queueOf returns a receiver in whose queue are entries of so many messages: "a0",
// "a1" and so on are of the first, 1 is an entry of one message.
func queueOf(sizes ...int) *receiver {
	r := &receiver{
		cfg: SubscriberConfig{Lease: time.Minute, Prefetch: 1000, PrefetchBytes: 1 << 20, Logger: slog.New(slog.DiscardHandler)},
		ctx: context.Background(), arrived: make(chan struct{}, 1), taken: make(chan struct{}, 1),
	}
	s := &stream{topic: "t", key: "t"}
	for i, n := range sizes {
		e := &entry{record: &record{stream: s, receiver: r, id: fmt.Sprint(i, "-0")}, state: ready}
		e.Message = &e.message
		name := string(rune('a' + i))
		if e.message.UUID = name; n > 1 {
			var l listed
			for k := range n {
				l = append(l, fmt.Sprint(name, k))
			}
			e.bundle, e.item = &bundle{content: l, messages: n}, whole
		}
		r.held.push(e)
		r.queue = append(r.queue, e)
		r.waits(e, +1)
	}
	return r
}

// pagesOf receives all that is queued in pages of at most most messages, and returns
// how many there were of which entries in each.
func pagesOf(t interface{ Fatal(...any) }, r *receiver, most int) (pages []string, ids []string) {
	for len(r.queue) > 0 {
		page, err := r.Receive(context.Background(), most)
		if err != nil || len(page) == 0 || len(page) > most {
			t.Fatal("page of ", len(page), ", at most ", most, ": ", err)
		}
		names, n := "", 0
		for i, d := range page {
			ids = append(ids, d.Message.UUID)
			n++
			if i == len(page)-1 || page[i+1].Message.UUID[0] != d.Message.UUID[0] {
				names += fmt.Sprint(d.Message.UUID[:1], n, " ")
				n = 0
			}
		}
		pages = append(pages, strings.TrimSpace(names))
	}
	return pages, ids
}

func TestAPageHasAllMessagesOfAnEntryWhereItHasRoom(t *testing.T) {
	for _, c := range []struct {
		sizes []int
		most  int
		want  []string
	}{
		{[]int{10, 10, 10}, 25, []string{"a10 b10", "c10"}},
		{[]int{10, 10, 10}, 30, []string{"a10 b10 c10"}},
		{[]int{10, 10}, 4, []string{"a4", "a4", "a2", "b4", "b4", "b2"}}, // There is never room for all.
		{[]int{10, 4, 1}, 8, []string{"a8", "a2 b4 c1"}},                 // What was begun goes on with others.
		{[]int{1, 1, 10, 1}, 5, []string{"a1 b1", "c5", "c5", "d1"}},
		{[]int{1, 1, 1}, 2, []string{"a1 b1", "c1"}},
		{[]int{10, 10}, 1000, []string{"a10 b10"}},
	} {
		if got, _ := pagesOf(t, queueOf(c.sizes...), c.most); !slices.Equal(got, c.want) {
			t.Errorf("entries of %v messages, at most %d: pages %q, want %q", c.sizes, c.most, got, c.want)
		}
	}
}

// Lost entries, too, take nothing with them.
func TestPropertyPagesHaveEveryMessageInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sizes := rapid.SliceOfN(rapid.IntRange(1, 12), 1, 8).Draw(t, "sizes")
		r := queueOf(sizes...)
		var want []string
		for i, n := range sizes {
			if rapid.IntRange(0, 4).Draw(t, "lost") == 0 {
				r.take(r.queue[i], done)
				continue
			}
			if n == 1 {
				want = append(want, string(rune('a'+i)))
			}
			for k := range n {
				if n > 1 {
					want = append(want, fmt.Sprint(string(rune('a'+i)), k))
				}
			}
		}
		if len(want) == 0 {
			return // Receive would wait.
		}
		var got []string
		for len(got) < len(want) {
			page, err := r.Receive(context.Background(), rapid.IntRange(1, 20).Draw(t, "most"))
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range page {
				got = append(got, d.Message.UUID)
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("received %q, want %q", got, want)
		}
		if len(r.queue) == 0 && (r.bundled != 0 || r.wholes != 0 || r.queueBytes != 0) {
			t.Fatalf("nothing waits, and %d, %d, %d are counted", r.bundled, r.wholes, r.queueBytes)
		}
	})
}

func TestReadsAreLargerWhereEntriesCarryMany(t *testing.T) {
	r := queueOf()
	r.entryBytes, r.entryCount = 100, 1
	single := r.room(1, 1)
	r.entryCount = 10
	if packed := 10 * r.room(1, 1); single != 250 || packed != 500 {
		t.Errorf("reads of %d messages, and packed of %d", single, packed)
	}
}

// Outcomes of one call are parted without copies where they can be, and are never
// mixed up, nor written over.
func TestPropertyGatheredOutcomesAreThoseOfTheCall(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := make([]transport.Outcome, rapid.IntRange(1, 30).Draw(t, "outcomes"))
		for i := range all {
			all[i].After = time.Duration(i)
		}
		given := slices.Clone(all)
		lists, own, want := make([][]transport.Outcome, 3), make([]bool, 3), make([][]transport.Outcome, 3)
		for i := range all {
			to := rapid.IntRange(0, 2).Draw(t, "to")
			lists[to] = gather(lists[to], &own[to], all[i:i+1], len(all))
			want[to] = append(want[to], given[i])
		}
		mine := false
		var joined []transport.Outcome
		for _, list := range lists {
			if len(list) > 0 {
				joined = gather(joined, &mine, list, len(all))
			}
		}
		same := func(a, b []transport.Outcome) bool {
			return slices.EqualFunc(a, b, func(a, b transport.Outcome) bool { return a.After == b.After })
		}
		for i := range lists {
			if !same(lists[i], want[i]) {
				t.Fatalf("list %d has %v, want %v", i, lists[i], want[i])
			}
		}
		if !same(all, given) || !same(joined, slices.Concat(want...)) {
			t.Fatalf("the call's are %v, were %v; joined %v", all, given, joined)
		}
	})
}
