package events

import "time"

// parseTime reads a time in RFC 3339, and what is none as zero. The very form that
// SetHeader writes, in UTC, is read by its positions: that takes a third of the time.
func parseTime(text string) time.Time {
	if t, ok := parseUTC(text); ok {
		return t
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}
	}
	return t
}

// parseUTC reads "2006-01-02T15:04:05.999999999Z", the fraction being optional, and
// leaves all else to time.Parse.
func parseUTC(s string) (t time.Time, ok bool) {
	const seconds = len("2006-01-02T15:04:05")
	last := len(s) - 1
	if last < seconds || last > seconds+len(".999999999") || s[last] != 'Z' ||
		s[4] != '-' || s[7] != '-' || s[10] != 'T' || s[13] != ':' || s[16] != ':' {
		return t, false
	}
	ok = true
	number := func(digits string) (n int) {
		for i := range len(digits) {
			c := digits[i] - '0'
			ok = ok && c <= 9
			n = 10*n + int(c)
		}
		return n
	}
	year, month, day := number(s[:4]), number(s[5:7]), number(s[8:10])
	hour, minute, second := number(s[11:13]), number(s[14:16]), number(s[17:19])
	nanos := 0
	if last > seconds {
		fraction := s[seconds+1 : last]
		ok = ok && s[seconds] == '.' && fraction != ""
		nanos = number(fraction)
		for range len("999999999") - len(fraction) {
			nanos *= 10
		}
	}
	if !ok || month < 1 || month > 12 || day < 1 || day > 28 && !hasDay(year, month, day) || hour > 23 || minute > 59 || second > 59 {
		return t, false
	}
	return time.Date(year, time.Month(month), day, hour, minute, second, nanos, time.UTC), true
}

// hasDay reports whether a month has a day.
func hasDay(year, month, day int) bool {
	return time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC).Day() == day
}
