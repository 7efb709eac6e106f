package events_test

import (
	"encoding/json"
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
	"github.com/logistically/events"
	"github.com/logistically/events/internal/webhooks"
	"github.com/logistically/events/validation"
)

type inner struct {
	A    string    `json:"a"`
	List []*inner2 `json:"list"`
}

type inner2 struct{ N int8 }

// filled has a field of every kind that is set without parsing again.
type filled struct {
	Text   string             `json:"text"`
	Bool   bool               `json:"bool"`
	Int    int                `json:"int"`
	Int8   int8               `json:"int8"`
	Uint   uint16             `json:"uint"`
	Float  float64            `json:"float"`
	Small  float32            `json:"small"`
	Any    any                `json:"any"`
	At     time.Time          `json:"at"`
	Ptr    *string            `json:"ptr"`
	PtrPtr **int              `json:"ptrptr"`
	ID     uuid.UUID          `json:"id"`
	IP     *netip.Addr        `json:"ip"`
	Number json.Number        `json:"number"`
	Strs   []string           `json:"strs"`
	Map    map[string]float64 `json:"map"`
	Maps   map[string]inner   `json:"maps"`
	Inner  inner              `json:"inner"`
	Skip   string             `json:"-"`
	hidden string
	Plain  string
}

// Types that are left to encoding/json.
type embeds struct {
	inner
	B string
}
type quotes struct {
	N int `json:"n,string"`
}
type recursive struct {
	Next *recursive `json:"next"`
	N    int        `json:"n"`
}
type raw struct {
	R json.RawMessage `json:"r"`
	B []byte          `json:"b"`
}

var bodies = []string{
	`{}`, `null`, `[]`, `1`, `"x"`, `{"text":"é\n\ud83d\ude00","bool":true,"int":-5,"int8":127,"uint":65535,"float":1.5e3,"small":0.1,"any":[1,"a",null,{"b":[true]}]}`,
	`{"text":null,"bool":null,"int":null,"any":null,"at":null,"ptr":null,"id":null,"strs":null,"map":null,"inner":null,"number":null,"ip":null}`,
	`{"text":1}`, `{"bool":"true"}`, `{"int":1.5}`, `{"int":1e2}`, `{"int":1.0}`, `{"int":-0}`, `{"int8":128}`, `{"uint":-1}`, `{"int":99999999999999999999}`, `{"float":1e400}`, `{"small":1e39}`, `{"float":"1"}`,
	`{"at":"2026-01-02T03:04:05.678Z"}`, `{"at":"2026-01-02T03:04:05+02:00"}`, `{"at":"yesterday"}`, `{"at":5}`, `{"at":"2026-01-02T03:04:05,5Z"}`, `{"at":"2026-01-02T3:04:05Z"}`,
	`{"ptr":"x","ptrptr":5,"id":"f47ac10b-58cc-4372-a567-0e02b2c3d479","ip":"::1","number":1.50}`, `{"id":"x"}`, `{"id":1}`, `{"ip":"x"}`, `{"number":"1"}`, `{"number":"x"}`,
	`{"strs":[]}`, `{"strs":["a",null]}`, `{"strs":[1]}`, `{"strs":{}}`, `{"map":{}}`, `{"map":{"a":1,"b":null}}`, `{"map":[1]}`, `{"maps":{"x":{"a":"1","list":[{"N":1},null]}}}`,
	`{"inner":{"a":"x","list":[{"n":2}]}}`, `{"inner":{"A":"x"}}`, `{"TEXT":"x"}`, `{"text":"a","Text":"b"}`, `{"Text":"b","text":"a"}`, `{"tExT":1}`, `{"plain":"x"}`, `{"PLAIN":"x","Plain":"y"}`, "{\"\u017ftrs\":[\"x\"]}",
	`{"Skip":"x","-":"y","hidden":"z","unknown":{"deep":[1,2,3]}}`, `{"any":1e400}`, `{"any":{"a":1e-400}}`, `{"any":""}`, `{"any":{}}`, `{"any":[]}`,
	`{"n":"5"}`, `{"n":5}`, `{"next":{"next":{"n":1}}}`, `{"r":[1, 2],"b":"AQI="}`, `{"B":"x","a":"y"}`,
}

// standard is encoding/json and nothing else.
type standard struct{ events.Codec }

func (standard) Unmarshal(data []byte, body any) error { return json.Unmarshal(data, body) }

// decodesAlike fails the test unless a body, validated or not, decodes into what
// encoding/json makes of it, with the same error.
func decodesAlike[T any](t *testing.T, body []byte, value any) {
	t.Helper()
	msg := message.NewMessage("1", body)
	sameAsStandard[T](t, msg)
	msg.SetContext(events.ContextWithParsedBody(t.Context(), body, value))
	sameAsStandard[T](t, msg)
}

func sameAsStandard[T any](t *testing.T, msg *message.Message) {
	t.Helper()
	body := msg.Payload
	want, wantErr := events.Decode[T](msg, standard{})
	got, err := events.Decode[T](msg, nil)
	if (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() {
		t.Errorf("%s: got error %v, want %v", body, err, wantErr)
	}
	if err == nil && !reflect.DeepEqual(got, want) {
		t.Errorf("%s: got %+v, want %+v", body, got, want)
	}
}

func allDecodeAlike(t *testing.T, r *validation.Registry, body []byte) {
	t.Helper()
	value, parsed, err := r.Parse(t.Context(), "a.b", body)
	if err != nil || !parsed {
		return // is not decoded from what was parsed
	}
	decodesAlike[filled](t, body, value)
	decodesAlike[any](t, body, value)
	decodesAlike[map[string]any](t, body, value)
	decodesAlike[map[string]string](t, body, value)
	decodesAlike[[]int](t, body, value)
	decodesAlike[string](t, body, value)
	decodesAlike[embeds](t, body, value)
	decodesAlike[quotes](t, body, value)
	decodesAlike[recursive](t, body, value)
	decodesAlike[raw](t, body, value)
}

func anyBody(tb testing.TB) *validation.Registry {
	tb.Helper()
	r, err := validation.NewRegistry(validation.Config{})
	if err != nil {
		tb.Fatal(err)
	}
	if err := r.AddSchema("a.b", []byte(`{}`)); err != nil {
		tb.Fatal(err)
	}
	return r
}

func TestParsedBodiesDecodeAsEncodingJSONDecodesThem(t *testing.T) {
	r := anyBody(t)
	for _, body := range bodies {
		allDecodeAlike(t, r, []byte(body))
	}
	_ = filled{}.hidden
}

func FuzzParsedBodiesDecodeAsEncodingJSONDecodesThem(f *testing.F) {
	r := anyBody(f)
	for _, body := range bodies {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) { allDecodeAlike(t, r, body) })
}

// Bodies that nobody has parsed: of any text, also of what is no JSON.
func FuzzBodiesDecodeAsEncodingJSONDecodesThem(f *testing.F) {
	for _, body := range slices.Concat(bodies, texts) {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) { textDecodesAlike(t, body) })
}

func textDecodesAlike(t *testing.T, body []byte) {
	t.Helper()
	msg := message.NewMessage("1", body)
	sameAsStandard[filled](t, msg)
	sameAsStandard[nested](t, msg)
	sameAsStandard[raw](t, msg)
	sameAsStandard[embeds](t, msg)
	sameAsStandard[quotes](t, msg)
	sameAsStandard[recursive](t, msg)
	sameAsStandard[unmarshals](t, msg)
	sameAsStandard[*nested](t, msg)
	sameAsStandard[endless](t, msg)
	sameAsStandard[map[string]any](t, msg)
}

// nested has structs inside one another, and types that read themselves.
type nested struct {
	Text  string          `json:"text,omitempty"`
	Named named           `json:"named"`
	Raw   json.RawMessage `json:"raw"`
	At    time.Time       `json:"at"`
	ID    uuid.UUID       `json:"id"`
	Array [2]int          `json:"array"`
	Self  unmarshals      `json:"self"`
	Ptr   *inner          `json:"ptr"`
	Times []*time.Time    `json:"times"`
	Lists [][]inner2      `json:"lists"`
	Loop  *recursive      `json:"loop"`
	Deep  struct {
		Raw  json.RawMessage  `json:"raw"`
		Ptr  *json.RawMessage `json:"ptr"`
		Deep struct {
			N    uint8
			Text string `json:"text"`
		} `json:"deep"`
	} `json:"deep"`
}

type named string

// forest and chain have themselves inside, without a struct between.
type forest []forest

type chain *chain

type endless struct {
	Forest forest            `json:"forest"`
	Chain  chain             `json:"chain"`
	Maps   map[string]forest `json:"maps"`
}

// unmarshals counts what it is given.
type unmarshals struct{ Seen string }

func (u *unmarshals) UnmarshalJSON(text []byte) error {
	if u.Seen += string(text); string(text) == `"refused"` {
		return errors.New("refused")
	}
	return nil
}

// texts are bodies that are read in another way where nobody has parsed them.
var texts = []string{
	"", " ", "{", `{"text"`, `{"text":`, `{"text":"a"`, `{"text":"a",}`, `{"text":"a"} x`, `{"text":"a"}{}`, ` { "text" : "a" , "raw" : [ 1 , 2 ] , "deep" : { "deep" : { "N" : 7 , "text" : "b" } , "raw" : {"x": 1} } } `,
	`{"text":"a","text":"b"}`, `{"text":"a","text":null}`, `{"ptr":{"a":"x"},"ptr":{"list":[]}}`, `{"unknown":1,"unknown":2}`, `{"te\u0078t":"a"}`, `{"\u0074ext":"a","text":"b"}`, "{\"text\":\"\xff\"}", "{\"text\":\"a\xff\xfeb\"}", `{"self":1,"self":2,"raw":1,"raw":[2],"array":[1,2],"array":[3],"deep":{"raw":1},"deep":{"deep":{"N":1}}}`, `{"times":["2026-01-02T03:04:05Z",null],"lists":[[{"N":1},{"N":2}],[],null]}`, `{"lists":[[{"N":1}]],"lists":[[{}]]}`, `{"lists":[[{"N":1,"n":2}]]}`, `{"lists":[{"N":1}]}`, `{"lists":[],"times":[1]}`, `{"ptr":{"a":"x"},"ptr":null}`,
	`{"forest":[[],[[],[[]]],null],"maps":{"a":[[]]}}`, `{"forest":[1]}`, `{"chain":null}`, `{"loop":{"next":{"n":2},"n":1}}`, `{"ptr":{"list":[{"N":1},{"N":300}]}}`, `{"strs":["a"],"strs":null}`, `{"strs":{}}`, `{"ptrptr":null}`, `{"ptrptr":1,"ptrptr":2}`, `{"map":{"a":1},"map":{"b":2},"strs":["a","b"],"strs":["c"],"inner":{"a":"x"},"inner":{"list":[]}}`, "{\"te\xffxt\":\"a\"}", "{\"\u212aey\":1}",
	`{"named":"n","self":{"a":[1, 2]},"array":[1,2,3]}`, `{"self":"refused"}`, `{"self":null,"raw":null,"deep":null,"named":null,"array":null}`, `{"deep":{"ptr":null}}`, `{"deep":{"ptr":[1]}}`, `{"deep":{"deep":{"N":256}}}`, `{"deep":{"deep":{"n":1}}}`, `{"deep":[]}`, `{"deep":1}`,
	`{"at":"2026-01-02T03:04:05\u005a"}`, `{"named":5}`, `{"text":"\ud800"}`, `{"text":"\ud83d\ude00\n"}`, `{"raw":nul}`, `{"raw":[1,]}`, `{"unknown":[1,]}`, `{"unknown":"\x"}`, `{"int":01}`, `{"float":-0.0,"int":-0}`, `{"number":1e5}`, `{"text":"a"}` + "\x00",
}

// someOfAWebhook is what a handler may want of one, the names as they are written there.
type someOfAWebhook struct {
	Action string `json:"action"`
	Sender struct {
		Login string `json:"login"`
		Type  string `json:"type"`
	} `json:"sender"`
	Repository struct {
		ID       int64  `json:"id"`
		FullName string `json:"full_name"`
		Owner    struct {
			Login string `json:"login"`
		} `json:"owner"`
		Private bool `json:"private"`
	} `json:"repository"`
	Raw json.RawMessage `json:"issue"`
}

func TestBodiesDecodeAsEncodingJSONDecodesThem(t *testing.T) {
	for _, body := range slices.Concat(bodies, texts) {
		textDecodesAlike(t, []byte(body))
	}
	hooks, err := webhooks.Load()
	if err != nil || len(hooks) == 0 {
		t.Fatal(len(hooks), err)
	}
	for _, hook := range hooks {
		textDecodesAlike(t, hook.Body)
		sameAsStandard[someOfAWebhook](t, message.NewMessage("1", message.Payload(hook.Body)))
	}
}

// The value counts only for the very text that it was made of.
func TestAnotherBodyIsParsedAgain(t *testing.T) {
	body := []byte(`{"text":"a"}`)
	msg := message.NewMessage("1", []byte(`{"text":"b"}`))
	msg.SetContext(events.ContextWithParsedBody(t.Context(), body, map[string]any{"text": "a"}))
	if e, err := events.Decode[filled](msg, nil); err != nil || e.Body.Text != "b" {
		t.Errorf("%+v %v", e.Body, err)
	}
	// And is taken for that text: nothing is parsed that could be refused.
	notJSON := []byte(`?`)
	msg = message.NewMessage("1", notJSON)
	msg.SetContext(events.ContextWithParsedBody(t.Context(), notJSON, map[string]any{"text": "a"}))
	if e, err := events.Decode[filled](msg, nil); err != nil || e.Body.Text != "a" {
		t.Errorf("%+v %v", e.Body, err)
	}
}
