package redis

import "time"

// row is a list that a script has returned. What is not there, or of another
// type than expected, reads as the zero value.
type row []any

func (r row) at(i int) any {
	if i < len(r) {
		return r[i]
	}
	return nil
}

func (r row) text(i int) string          { s, _ := r.at(i).(string); return s }
func (r row) number(i int) int64         { n, _ := r.at(i).(int64); return n }
func (r row) row(i int) row              { list, _ := r.at(i).([]any); return list }
func milliseconds(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
