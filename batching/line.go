package batching

import (
	"cmp"
	"slices"
)

// line holds items in the order of their numbers. Adding and taking cost the
// same however long it is, over time.
type line struct {
	items []item
	head  int // where the first one is: what is before it has been taken
}

func (l *line) len() int { return len(l.items) - l.head }

func (l *line) first() *item { return &l.items[l.head] }

func (l *line) add(it item) {
	if len(l.items) == cap(l.items) && l.head > len(l.items)/2 {
		// Half of the room or more is before the head: no need for another array.
		n := copy(l.items, l.items[l.head:])
		clear(l.items[n:])
		l.items, l.head = l.items[:n], 0
	}
	l.items = append(l.items, it)
}

func (l *line) take() item {
	it := l.items[l.head]
	l.items[l.head] = item{}
	if l.head++; l.head == len(l.items) {
		l.items, l.head = l.items[:0], 0
	}
	return it
}

// find returns the place of an item by its number. It must be there.
func (l *line) find(number uint64) int {
	i, _ := slices.BinarySearchFunc(l.items[l.head:], number, func(it item, n uint64) int { return cmp.Compare(it.number, n) })
	return i
}

// remove takes the item out that has i others before it. It moves the fewer
// ones: callers that give up tend to be those who came first.
func (l *line) remove(i int) item {
	if i > l.len()/2 {
		it := l.items[l.head+i]
		l.items = slices.Delete(l.items, l.head+i, l.head+i+1)
		return it
	}
	it := l.items[l.head+i]
	copy(l.items[l.head+1:], l.items[l.head:l.head+i])
	l.items[l.head] = it
	return l.take()
}
