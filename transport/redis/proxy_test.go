package redis_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"

	goredis "github.com/redis/go-redis/v9"
)

// proxy stands between clients and a server. It passes on one command at a time
// on each connection, and does to each what its rule says.
type proxy struct {
	t       *testing.T
	Addr    string
	target  string
	serving sync.WaitGroup

	mu       sync.Mutex
	rule     func(cmd []string) fate
	commands map[string]int // how many of each arrived
	working  int            // how many are on their way to the server or back
	conns    map[net.Conn]bool
	left     map[way]int // bytes until the next cut
}

// fate is what becomes of a command.
type fate int

const (
	passed        fate = iota
	notSent            // the connection is cut before it
	halfSent           // the connection is cut in its middle: the server has not all of it
	notAnswered        // the server does it, and the connection is cut before the reply
	halfAnswered       // the connection is cut in the middle of the reply
	neverAnswered      // the client waits for a reply in vain
)

var cuts = []fate{notSent, halfSent, notAnswered, halfAnswered}

func (f fate) String() string {
	return [...]string{"passed", "not sent", "half sent", "not answered", "half answered", "never answered"}[f]
}

// way is a direction.
type way int

const (
	toServer way = iota
	toClient
)

var errCut = errors.New("the proxy cuts the connection")

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, Addr: l.Addr().String(), target: target, commands: map[string]int{}, conns: map[net.Conn]bool{}, left: map[way]int{}}
	p.serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			p.serving.Go(func() { p.serve(conn) })
		}
	})
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		p.cutAll()
		p.serving.Wait()
	})
	return p
}

// client opens a client that goes through the proxy.
func (p *proxy) client(change ...func(*goredis.Options)) *goredis.Client {
	p.t.Helper()
	opts := &goredis.Options{Addr: p.Addr}
	for _, c := range change {
		c(opts)
	}
	client := goredis.NewClient(opts)
	p.t.Cleanup(func() {
		if err := client.Close(); err != nil {
			p.t.Error(err)
		}
	})
	return client
}

// once makes go-redis send each command once only.
func once(o *goredis.Options) { o.MaxRetries = -1 }

// obey sets the rule; nil lets all pass. Rules are asked one at a time.
func (p *proxy) obey(rule func(cmd []string) fate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rule = rule
}

// cutAfter cuts the connection on which the nth byte from now goes that way.
func (p *proxy) cutAfter(w way, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left[w] = n
}

// cutAll cuts all connections that are open.
func (p *proxy) cutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		_ = conn.Close() // It may be closed already.
	}
}

// count is how many commands of a name have arrived, or of all names.
func (p *proxy) count(name string) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for command, times := range p.commands {
		if name == "" || name == command {
			n += times
		}
	}
	return n
}

// open counts a connection in, so that it ends with the proxy.
func (p *proxy) open(conn net.Conn) func() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[conn] = true
	return func() {
		_ = conn.Close()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.conns, conn)
	}
}

func (p *proxy) serve(client net.Conn) {
	defer p.open(client)()
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer p.open(server)()
	commands, replies := bufio.NewReader(client), bufio.NewReader(server)
	deaf := false // The client is cut off; what it has sent before is done all the same.
	for {
		words, raw, err := readCommand(commands)
		if err != nil {
			return
		}
		f := p.fateOf(words)
		answer, err := p.ask(server, replies, raw, f)
		if err != nil {
			return
		}
		switch {
		case deaf, f == neverAnswered:
			continue
		case f == notAnswered:
			answer = nil
		case f == halfAnswered:
			answer = answer[:len(answer)/2]
		}
		if err := p.write(client, answer, toClient); err != nil || f != passed {
			deaf = true
			if c, ok := client.(*net.TCPConn); !ok || c.CloseWrite() != nil {
				return
			}
		}
	}
}

// ask sends the server as much of a command as it shall have, and reads the answer.
func (p *proxy) ask(server net.Conn, replies *bufio.Reader, raw []byte, f fate) ([]byte, error) {
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.working--
	}()
	switch f {
	case notSent:
		return nil, errCut
	case halfSent:
		raw = raw[:len(raw)/2]
	}
	if err := p.write(server, raw, toServer); err != nil {
		return nil, err
	}
	if f == halfSent {
		return nil, errCut
	}
	return readAnswer(replies, nil)
}

// idle reports whether the server has done and answered all that it was sent.
func (p *proxy) idle() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.working == 0
}

func (p *proxy) fateOf(words []string) fate {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.commands[words[0]]++
	p.working++
	if p.rule == nil {
		return passed
	}
	return p.rule(words)
}

// write passes bytes on as far as cutAfter lets it.
func (p *proxy) write(to io.Writer, data []byte, w way) error {
	p.mu.Lock()
	cut := false
	if left, ok := p.left[w]; ok {
		if cut = left <= len(data); cut {
			data = data[:left]
			delete(p.left, w)
		} else {
			p.left[w] = left - len(data)
		}
	}
	p.mu.Unlock()
	if _, err := to.Write(data); err != nil {
		return err
	}
	if cut {
		return errCut
	}
	return nil
}

// readCommand reads an array of strings. The first word is in lower case.
func readCommand(r *bufio.Reader) (words []string, raw []byte, err error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return nil, nil, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(line, "*")))
	if err != nil || n < 1 {
		return nil, nil, fmt.Errorf("no command: %q", line)
	}
	raw = []byte(line)
	for range n {
		start := len(raw)
		if raw, err = readAnswer(r, raw); err != nil {
			return nil, nil, err
		}
		_, word, _ := strings.Cut(string(raw[start:]), "\r\n")
		words = append(words, strings.TrimSuffix(word, "\r\n"))
	}
	words[0] = strings.ToLower(words[0])
	return words, raw, nil
}

// readAnswer appends one reply, with all that is in it, to raw.
func readAnswer(r *bufio.Reader, raw []byte) ([]byte, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	raw = append(raw, line...)
	n, err := strconv.Atoi(strings.TrimSpace(line[1:]))
	switch line[0] {
	case '$', '=', '!':
		if err != nil || n < 0 {
			return raw, err
		}
		data := make([]byte, n+len("\r\n"))
		_, err = io.ReadFull(r, data)
		return append(raw, data...), err
	case '%':
		n *= 2
	case '*', '~', '>':
	default: // It is all in the line.
		return raw, nil
	}
	if err != nil {
		return nil, err
	}
	for range n {
		if raw, err = readAnswer(r, raw); err != nil {
			return nil, err
		}
	}
	return raw, nil
}
