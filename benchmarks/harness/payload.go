package harness

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strconv"

	"github.com/logistically/events/internal/webhooks"
)

// Each body is a JSON object whose first member is the message's number in ten
// digits: {"n":"0000000042","data":…}. The guard counts by it.
const (
	bodyHead  = `{"n":"`
	bodyDigit = 10
	bodyFill  = `","data":"`
)

// bodies makes message bodies of one load.
type bodies struct {
	size   int
	random bool
	real   [][]byte // real webhooks, if the load wants them
}

func newBodies(load Load) (*bodies, error) {
	b := &bodies{size: load.Body, random: load.Random}
	if !load.Webhooks {
		if least := len(bodyHead) + bodyDigit + len(bodyFill) + len(`"}`); load.Body < least {
			return nil, fmt.Errorf("a body has at least %d bytes, the load asks for %d", least, load.Body)
		}
		return b, nil
	}
	all, err := webhooks.Load()
	if err != nil {
		return nil, err
	}
	for _, e := range all {
		b.real = append(b.real, e.Body)
	}
	return b, nil
}

// body returns the body of message n.
func (b *bodies) body(n int) []byte {
	if b.real != nil {
		data := b.real[n%len(b.real)]
		return fmt.Appendf(make([]byte, 0, len(data)+40), `%s%0*d","data":%s}`, bodyHead, bodyDigit, n, data)
	}
	out := fmt.Appendf(make([]byte, 0, b.size), `%s%0*d%s`, bodyHead, bodyDigit, n, bodyFill)
	fill := b.size - len(out) - len(`"}`)
	if b.random {
		bytes := make([]byte, (fill+1)/4*3+3)
		_, _ = rand.Read(bytes) // It never fails.
		return append(append(out, base64.StdEncoding.EncodeToString(bytes)[:fill]...), `"}`...)
	}
	// Words and digits, as events are; one repeated letter would flatter compression.
	for i := 0; i < fill; i++ {
		out = append(out, "customer order 4711 shipped to warehouse 23, "[(i*7+n+i/45)%45])
	}
	return append(out, `"}`...)
}

func (b *bodies) page(from, to int) [][]byte {
	out := make([][]byte, 0, to-from)
	for n := from; n < to; n++ {
		out = append(out, b.body(n))
	}
	return out
}

// number returns the number of a message from its body.
func number(body []byte) (int, error) {
	rest, ok := bytes.CutPrefix(body, []byte(bodyHead))
	if !ok || len(rest) < bodyDigit {
		return 0, fmt.Errorf("a body came that was never sent: %.40q", body)
	}
	return strconv.Atoi(string(rest[:bodyDigit]))
}
