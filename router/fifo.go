package router

// fifo is a queue of jobs. It has no lock.
type fifo struct {
	ring []*job // its length is a power of two
	head int
	size int
}

func (q *fifo) push(j *job) {
	if q.size == len(q.ring) {
		q.grow()
	}
	q.ring[(q.head+q.size)&(len(q.ring)-1)] = j
	q.size++
}

// pushFirst makes a job the oldest.
func (q *fifo) pushFirst(j *job) {
	if q.size == len(q.ring) {
		q.grow()
	}
	q.head = (q.head - 1) & (len(q.ring) - 1)
	q.ring[q.head] = j
	q.size++
}

// pop returns the oldest job, or nil.
func (q *fifo) pop() *job {
	if q.size == 0 {
		return nil
	}
	j := q.ring[q.head]
	q.ring[q.head] = nil
	q.head = (q.head + 1) & (len(q.ring) - 1)
	q.size--
	return j
}

func (q *fifo) grow() {
	ring := make([]*job, max(4, 2*len(q.ring)))
	for i := range q.size {
		ring[i] = q.at(i)
	}
	q.ring, q.head = ring, 0
}

func (q *fifo) at(i int) *job { return q.ring[(q.head+i)&(len(q.ring)-1)] }

// drain empties the queue and appends what it had, oldest first.
func (q *fifo) drain(to []*job) []*job {
	for j := q.pop(); j != nil; j = q.pop() {
		to = append(to, j)
	}
	return to
}
