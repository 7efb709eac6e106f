package jsontext_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/logistically/events/internal/jsontext"
)

// pair is a text and what JSON.stringify(JSON.parse(text)) makes of it.
type pair struct {
	In  string `json:"in"`
	Out string `json:"out"`
}

// recorded is what node 20 has answered, one pair a line.
const recorded = "testdata/stringify.jsonl"

func recordedPairs(t *testing.T) (pairs []pair) {
	t.Helper()
	file, err := os.Open(recorded)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var p pair
		if err := json.Unmarshal(lines.Bytes(), &p); err != nil {
			t.Fatal(err)
		}
		pairs = append(pairs, p)
	}
	if lines.Err() != nil || len(pairs) < 500 {
		t.Fatalf("%d recorded pairs, %v", len(pairs), lines.Err())
	}
	return pairs
}

// check compares with JavaScript's answer. What is refused must be a number that
// JavaScript has changed.
func check(t *testing.T, p pair) {
	t.Helper()
	got, err := jsontext.Stringify(nil, []byte(p.In))
	switch {
	case errors.Is(err, jsontext.ErrNumber):
		if !changesInteger(p.In) {
			t.Errorf("%q: %v, but JavaScript has %q", p.In, err, p.Out)
		}
	case err != nil:
		t.Errorf("%q: %v", p.In, err)
	case string(got) != p.Out:
		t.Errorf("%.2000q\n is %.2000q\nwant %.2000q", p.In, got, p.Out)
	case changesInteger(p.In):
		t.Errorf("%q is taken, though an integer changes", p.In)
	}
}

// changesInteger reports whether a text has an integer, or a number out of range,
// that the shortest form of a double does not have the digits of.
func changesInteger(text string) bool {
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	for {
		token, err := dec.Token()
		if err != nil {
			return false
		}
		n, ok := token.(json.Number)
		if !ok {
			continue
		}
		f, err := n.Float64()
		if err != nil {
			return true
		}
		exact, isInteger := new(big.Int).SetString(string(n), 10)
		if !isInteger {
			continue
		}
		shortest, _ := new(big.Float).SetPrec(2000).SetString(strconv.FormatFloat(f, 'g', -1, 64))
		if i, accuracy := shortest.Int(nil); accuracy != big.Exact || i.Cmp(exact) != 0 {
			return true
		}
	}
}

func TestStringifyWritesWhatJavaScriptWrote(t *testing.T) {
	for _, p := range recordedPairs(t) {
		check(t, p)
	}
}

// The other half of the recorded pairs: what an engine says now, of other texts.
func TestStringifyWritesWhatJavaScriptWrites(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		t.Logf("no JavaScript engine is installed: the %d recorded pairs are all that is compared", len(recordedPairs(t)))
		return
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var texts []string
	for _, p := range recordedPairs(t) {
		texts = append(texts, p.In)
	}
	for _, p := range stringifiedByNode(t, append(texts, generated(seed, 6000)...)) {
		check(t, p)
	}
}

// TestRecord writes the recorded pairs anew: EVENTS_RECORD=1, with node installed.
func TestRecord(t *testing.T) {
	if os.Getenv("EVENTS_RECORD") == "" {
		t.Logf("%d pairs are recorded", len(recordedPairs(t)))
		return
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	for _, p := range stringifiedByNode(t, append(handPicked(), generated(1, 500)...)) {
		if err := enc.Encode(p); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(recorded, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// stringifiedByNode asks one process for all of them.
func stringifiedByNode(t *testing.T, texts []string) []pair {
	t.Helper()
	const script = `const texts = JSON.parse(require('fs').readFileSync(0, 'utf8'));
process.stdout.write(JSON.stringify(texts.map((text) => JSON.stringify(JSON.parse(text)))));`
	in, err := json.Marshal(texts)
	if err != nil {
		t.Fatal(err)
	}
	node := exec.CommandContext(t.Context(), "node", "-e", script)
	node.Stdin = bytes.NewReader(in)
	node.Stderr = os.Stderr
	out, err := node.Output()
	if err != nil {
		t.Fatal(err)
	}
	var answers []string
	if err := json.Unmarshal(out, &answers); err != nil || len(answers) != len(texts) {
		t.Fatalf("%d answers to %d texts, %v", len(answers), len(texts), err)
	}
	pairs := make([]pair, len(texts))
	for i := range texts {
		pairs[i] = pair{texts[i], answers[i]}
	}
	return pairs
}

func handPicked() []string {
	texts := []string{
		`-0`, `-0.0`, `0e5`, `1e21`, `1E+20`, `123456789012345680000`, `999999999999999900000`, `1000000000000000000000`, `1e-6`, `1e-7`, `0.000001`, `0.0000001`, `5e-324`, `4e-324`, `2e-324`, `1.7976931348623157e308`, `1.7976931348623159e308`, `1e400`, `-1e400`, `1e-400`,
		`9007199254740991`, `9007199254740992`, `9007199254740993`, `18446744073709551615`, `1152921504606846976`, `-9223372036854775808`, `0.1`, `1.0`, `100`, `1.10`, `0.30000000000000004`, `0.1234567890123456789`, `12345678901234567.89`,
		`"<b>&amp;</b>"`, "\"\u2028\u2029\u007f\u0080\"", `"\u2028\u003c\u00e9\/\b\f\n\r\t\"\\\u0000\u001f\u007f"`, `"\ud83d\ude00"`, `"\uD83D\uDE00"`, `"\ud800"`, `"\udc00"`, `"\udc00\ud800"`, `"\ud800\ud83d\ude00"`, `"\ud800\u0041"`, `"\ud800A"`, `"\uDBFF\uDFFF"`,
		`{"9":1,"10":2,"z":3,"a":4,"":5,"__proto__":6,"constructor":7}`, `{"b":1,"a":2,"b":3}`, `{"01":1,"1":2,"-1":3,"1.5":4,"0":5}`, `{"4294967294":1,"4294967295":2,"4294967296":3,"0":4,"99999999999":5}`, `{"\u0031":1,"0":2,"a":3,"\u0061":4}`,
		`{"__proto__":1,"__proto__":{"a":2}}`, `[ 1 , [ ] , { } , null , true , false ]`, " { \"a\" : [ ] } \n", `[[[{"e":{}}]]]`, `""`, `" "`,
	}
	many := make([]string, 40)
	for i := range many {
		many[i] = fmt.Sprintf(`"k%d":%d`, i%30, i)
	}
	return append(texts, "{"+strings.Join(many, ",")+"}", strings.Repeat("[", 200)+strings.Repeat("]", 200))
}

// generated makes texts of all that JSON has.
func generated(seed uint64, n int) []string {
	g := &generator{rand.New(rand.NewPCG(seed, 0))}
	texts := make([]string, n)
	for i := range texts {
		switch i % 4 {
		case 0:
			texts[i] = g.number()
		case 1:
			texts[i] = g.text()
		default:
			texts[i] = g.value(4)
		}
	}
	return texts
}

type generator struct{ *rand.Rand }

func (g *generator) pick(of ...string) string { return of[g.IntN(len(of))] }
func (g *generator) space() string            { return g.pick("", "", "", " ", "\n\t", "\r ") }

func (g *generator) digits(most int) string {
	var b strings.Builder
	for range 1 + g.IntN(most) {
		b.WriteByte(byte('0' + g.IntN(10)))
	}
	return b.String()
}

func (g *generator) number() string {
	sign := g.pick("", "", "-")
	switch g.IntN(6) {
	case 0:
		return sign + strconv.Itoa(g.IntN(1000))
	case 1: // around what a double holds
		return sign + strconv.FormatUint(1<<53-5+g.Uint64N(10), 10)
	case 2:
		f := math.Float64frombits(g.Uint64())
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return "0"
		}
		return strconv.FormatFloat(f, g.pick("e", "g")[0], -1, 64)
	case 3: // as other writers may round
		return sign + strconv.FormatFloat(g.Float64()*math.Pow(10, float64(g.IntN(40)-20)), 'g', 1+g.IntN(20), 64)
	case 4:
		return sign + "1" + g.digits(24)
	}
	return sign + g.pick("0", "1"+g.digits(5)) + "." + g.digits(22) + g.pick("", "e"+g.digits(2), "E-"+g.digits(2))
}

func (g *generator) text() string {
	var b strings.Builder
	b.WriteByte('"')
	for range g.IntN(14) {
		switch g.IntN(9) {
		case 0:
			fmt.Fprintf(&b, `\u%04x`, g.IntN(1<<16))
		case 1:
			fmt.Fprintf(&b, `\u%04X`, 0xd700+g.IntN(0x900)) // surrogates and their neighbours
		case 2:
			b.WriteString(g.pick(`\"`, `\\`, `\/`, `\b`, `\f`, `\n`, `\r`, `\t`))
		case 3:
			b.WriteRune(rune(0xa0 + g.IntN(0x2100)))
		case 4:
			b.WriteRune(rune(0x10000 + g.IntN(0xfffff)))
		default:
			b.WriteString(g.pick("a", "<b>&", "1", " ", "'", "\u007f", "/", "longer than eight bytes"))
		}
	}
	b.WriteByte('"')
	return b.String()
}

func (g *generator) value(depth int) string {
	if depth == 0 || g.IntN(4) == 0 {
		return g.pick(g.number(), g.text(), "null", "true", "false", "{}", "[]")
	}
	var parts []string
	object := g.IntN(3) > 0
	for range g.IntN(6) {
		part := g.space() + g.value(depth-1) + g.space()
		if object {
			name := g.pick(g.text(), `"`+g.digits(11)+`"`, `"a"`, `"b"`, `"\u0061"`, `"0"`, `"1"`, `"4294967295"`)
			part = g.space() + name + g.space() + ":" + part
		}
		parts = append(parts, part)
	}
	if object {
		return "{" + strings.Join(parts, ",") + g.space() + "}"
	}
	return "[" + strings.Join(parts, ",") + g.space() + "]"
}
