package validation_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/logistically/events/validation"
)

// changes are one change each, and whom it breaks: o the consumers that have the
// old schema, n those that have the new one, by rule.
var changes = []struct{ name, before, after, want string }{
	{"nothing", `{"type":"object","required":["a"]}`, `{"type":"object","required":["a"]}`, ""},
	{"a description", `{"description":"x"}`, `{"description":"y","title":"z","examples":[1],"default":2,"$comment":"c","deprecated":true}`, ""},
	{"sensitive now", `{"type":"string"}`, `{"type":"string","x-sensitive":true}`, ""},
	{"optional member added", `{"properties":{}}`, `{"properties":{"a":{"type":"string"}}}`, ""},
	{"optional member removed", `{"properties":{"a":{"type":"string"}}}`, `{"properties":{}}`, ""},
	{"required member added", `{"type":"object"}`, `{"type":"object","required":["a"],"properties":{"a":{}}}`, "n required"},
	{"required member removed", `{"type":"object","required":["a"],"properties":{"a":{}}}`, `{"type":"object"}`, "o required"},
	{"member becomes required", `{"type":"object","properties":{"a":{}}}`, `{"type":"object","properties":{"a":{}},"required":["a"]}`, "n required"},
	{"member becomes optional", `{"type":"object","properties":{"a":{}},"required":["a"]}`, `{"type":"object","properties":{"a":{}}}`, "o required"},
	{"member renamed", `{"type":"object","properties":{"a":{}},"required":["a"]}`, `{"type":"object","properties":{"b":{}},"required":["b"]}`, "o required; n required"},
	{"optional member added to a closed object", `{"type":"object","additionalProperties":false}`, `{"type":"object","properties":{"a":{}},"additionalProperties":false}`, "o additionalProperties /a"},
	{"optional member removed from a closed object", `{"type":"object","properties":{"a":{}},"additionalProperties":false}`, `{"type":"object","additionalProperties":false}`, "n additionalProperties /a"},
	{"closed", `{"type":"object"}`, `{"type":"object","additionalProperties":false}`, "n additionalProperties"},
	{"opened", `{"type":"object","additionalProperties":false}`, `{"type":"object"}`, "o additionalProperties"},
	{"type changed", `{"type":"string"}`, `{"type":"number"}`, "o type; n type"},
	{"null allowed", `{"type":"string"}`, `{"type":["string","null"]}`, "o type"},
	{"null no longer allowed", `{"type":["string","null"]}`, `{"type":"string"}`, "n type"},
	{"integer to number", `{"type":"integer"}`, `{"type":"number"}`, "o type"},
	{"number to integer", `{"type":"number"}`, `{"type":"integer"}`, "n type"},
	{"type given", `{}`, `{"type":"string"}`, "n type"},
	{"type of a member changed", `{"properties":{"a":{"properties":{"b/c":{"type":"string"}}}}}`, `{"properties":{"a":{"properties":{"b/c":{"type":"boolean"}}}}}`, "o type /a/b~1c; n type /a/b~1c"},
	{"enum value added", `{"enum":["a"]}`, `{"enum":["a","b"]}`, "o enum"},
	{"enum value removed", `{"enum":["a","b"]}`, `{"enum":["a"]}`, "n enum"},
	{"enum in another order", `{"enum":["a","b"]}`, `{"enum":["b","a"]}`, ""},
	{"enum value written otherwise", `{"enum":[1,"a"]}`, `{"enum":[1.0,"a"]}`, ""},
	{"enum given up", `{"type":"string","enum":["a"]}`, `{"type":"string"}`, "o enum"},
	{"const to enum", `{"const":"a"}`, `{"enum":["a","b"]}`, "o const"},
	{"enum to const of the same", `{"enum":["a"]}`, `{"const":"a"}`, ""},
	{"minimum raised", `{"type":"number","minimum":1}`, `{"type":"number","minimum":2}`, "n minimum"},
	{"minimum lowered", `{"type":"number","minimum":2}`, `{"type":"number","minimum":1}`, "o minimum"},
	{"minimum becomes exclusive", `{"type":"number","minimum":0}`, `{"type":"number","exclusiveMinimum":0}`, "n exclusiveMinimum"},
	{"exclusive in the words of draft 4", `{"$schema":"http://json-schema.org/draft-04/schema#","type":"number","minimum":0,"exclusiveMinimum":true}`, `{"type":"number","exclusiveMinimum":0}`, ""},
	{"maximum raised", `{"type":"integer","maximum":1}`, `{"type":"integer","maximum":2}`, "o maximum"},
	{"exclusive maximum lowered", `{"type":"number","exclusiveMaximum":9}`, `{"type":"number","exclusiveMaximum":8}`, "n exclusiveMaximum"},
	{"a limit that does not concern", `{"type":"string"}`, `{"type":"string","minimum":3,"maxItems":1}`, ""},
	{"multipleOf coarser", `{"type":"number","multipleOf":2}`, `{"type":"number","multipleOf":4}`, "n multipleOf"},
	{"multipleOf finer", `{"type":"number","multipleOf":1}`, `{"type":"number","multipleOf":0.1}`, "o multipleOf"},
	{"multipleOf 1 of integers", `{"type":"integer"}`, `{"type":"integer","multipleOf":1}`, ""},
	{"longer text", `{"type":"string","maxLength":5}`, `{"type":"string","maxLength":9}`, "o maxLength"},
	{"shorter text", `{"type":"string","minLength":5}`, `{"type":"string"}`, "o minLength"},
	{"minLength 0", `{"type":"string"}`, `{"type":"string","minLength":0}`, ""},
	{"pattern added", `{"type":"string"}`, `{"type":"string","pattern":"^a"}`, "n pattern"},
	{"pattern changed", `{"type":"string","pattern":"^b"}`, `{"type":"string","pattern":"^a"}`, "o pattern; n pattern"},
	{"format dropped", `{"type":"string","format":"email"}`, `{"type":"string"}`, "o format"},
	{"items changed", `{"type":"array","items":{"type":"string"}}`, `{"type":"array","items":{"type":"number"}}`, "o type /*; n type /*"},
	{"items given", `{"type":"array"}`, `{"type":"array","items":{"type":"string"}}`, "n type /*"},
	{"more items", `{"type":"array","maxItems":1}`, `{"type":"array","maxItems":2}`, "o maxItems"},
	{"fewer items", `{"type":"array","minItems":1}`, `{"type":"array"}`, "o minItems"},
	{"unique items", `{"type":"array"}`, `{"type":"array","uniqueItems":true}`, "n uniqueItems"},
	{"tuple changed", `{"type":"array","prefixItems":[{"type":"string"},{"type":"string"}]}`, `{"type":"array","prefixItems":[{"type":"string"},{"type":"null"}]}`, "o type /1; n type /1"},
	{"tuple in the words of draft-07", `{"$schema":"http://json-schema.org/draft-07/schema#","type":"array","items":[{"type":"string"}]}`, `{"type":"array","prefixItems":[{"type":"string"}]}`, ""},
	{"values of a map changed", `{"type":"object","additionalProperties":{"type":"string"}}`, `{"type":"object","additionalProperties":{"type":"number"}}`, "o type /*; n type /*"},
	{"map becomes anything", `{"type":"object","additionalProperties":{"type":"string"}}`, `{"type":"object"}`, "o type /*"},
	{"more members", `{"type":"object","maxProperties":1}`, `{"type":"object","maxProperties":2}`, "o maxProperties"},
	{"as many members as are required", `{"type":"object","required":["a","b"]}`, `{"type":"object","required":["a","b"],"minProperties":2}`, ""},
	{"branch added", `{"anyOf":[{"type":"string"}]}`, `{"anyOf":[{"type":"string"},{"type":"null"}]}`, "o anyOf"},
	{"branch removed", `{"oneOf":[{"type":"string"},{"type":"null"}]}`, `{"oneOf":[{"type":"string"}]}`, "n oneOf"},
	{"branches in another order", `{"oneOf":[{"type":"string"},{"type":"null"}]}`, `{"oneOf":[{"type":"null"},{"type":"string"}]}`, ""},
	{"types written as branches", `{"type":["string","null"]}`, `{"anyOf":[{"type":"null"},{"type":"string"}]}`, ""},
	{"branch widened", `{"oneOf":[{"type":"integer","maximum":1},{"type":"null"}]}`, `{"oneOf":[{"type":"integer","maximum":2},{"type":"null"}]}`, "o oneOf"},
	{"split into allOf", `{"type":"object","required":["a"],"properties":{"a":{"type":"string"}}}`, `{"allOf":[{"type":"object","required":["a"]},{"properties":{"a":{"type":"string"}}}]}`, ""},
	{"moved behind a $ref", `{"properties":{"a":{"type":"string"}}}`, `{"$defs":{"a":{"type":"string"}},"properties":{"a":{"$ref":"#/$defs/a"}}}`, ""},
	{"changed behind a $ref", `{"$defs":{"a":{"type":"string"}},"properties":{"a":{"$ref":"#/$defs/a"}}}`, `{"$defs":{"a":{"type":"null"}},"properties":{"a":{"$ref":"#/$defs/a"}}}`, "o type /a; n type /a"},
	{"recursive, the same", `{"properties":{"next":{"$ref":"#"},"n":{"type":"integer"}}}`, `{"properties":{"next":{"$ref":"#"},"n":{"type":"integer"}}}`, ""},
	{"recursive, changed", `{"properties":{"next":{"$ref":"#"},"n":{"type":"integer"}}}`, `{"properties":{"next":{"$ref":"#"},"n":{"type":"string"}}}`, "o type /n; n type /n"},
	{"not, the same", `{"not":{"type":"null"}}`, `{"not":{"type":"null"}}`, ""},
	{"not, changed", `{"not":{"type":"null"}}`, `{"not":{"type":"string"}}`, "o not; n not"},
	{"if added", `{"type":"string"}`, `{"type":"string","if":{"minLength":1},"then":{"maxLength":9}}`, "n if; n then"},
	{"not behind a $ref that changed", `{"$defs":{"a":{"type":"null"}},"not":{"$ref":"#/$defs/a"}}`, `{"$defs":{"a":{"type":"string"}},"not":{"$ref":"#/$defs/a"}}`, "o not; n not"},
	{"nothing allowed any more", `{"properties":{"a":{"type":"string"}}}`, `{"properties":{"a":false}}`, "n false /a"},
	{"never sent before", `{"properties":{"a":false}}`, `{"properties":{"a":{"type":"string"}}}`, "o false /a"},
	{"dependentRequired added", `{"type":"object"}`, `{"type":"object","dependentRequired":{"a":["b"]}}`, "n dependentRequired"},
	{"true", `true`, `{}`, ""},
}

func TestCompatibleFindsWhatBreaksWhom(t *testing.T) {
	for _, c := range changes {
		found, err := validation.Compatible([]byte(c.before), []byte(c.after))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		var got []string
		for _, b := range found {
			who := map[validation.Reader]string{validation.OldConsumer: "o", validation.NewConsumer: "n"}[b.Reader]
			got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s %s", who, b.Rule, b.Pointer)))
		}
		if strings.Join(got, "; ") != c.want {
			t.Errorf("%s: got %q, want %q: %v", c.name, strings.Join(got, "; "), c.want, found)
		}
	}
	t.Logf("%d changes", len(changes))
}

// The other way round, what breaks old consumers breaks new ones, and vice versa.
func TestAChangeAndItsOppositeBreakTheOppositeConsumers(t *testing.T) {
	for _, c := range changes {
		there, err := validation.Compatible([]byte(c.before), []byte(c.after))
		if err != nil {
			t.Fatal(err)
		}
		back, err := validation.Compatible([]byte(c.after), []byte(c.before))
		if err != nil {
			t.Fatal(err)
		}
		count := func(all []validation.Break, who validation.Reader) (n int) {
			for _, b := range all {
				if b.Reader == who {
					n++
				}
			}
			return n
		}
		if count(there, validation.OldConsumer) != count(back, validation.NewConsumer) || count(there, validation.NewConsumer) != count(back, validation.OldConsumer) {
			t.Errorf("%s: %v, and back %v", c.name, there, back)
		}
	}
}

func TestARealSchemaIsCompatibleWithItself(t *testing.T) {
	r, all := webhookRegistry(t)
	for _, e := range all[:1] {
		schema, ok := r.Schema(e.Type)
		if !ok {
			t.Fatal(e.Type)
		}
		if found, err := validation.Compatible(schema, schema); err != nil || found != nil {
			t.Errorf("%s: %v %v", e.Type, found, err)
		}
	}
}

func TestCompatibleRefusesWhatIsNoSchema(t *testing.T) {
	for _, c := range [][2]string{{`{`, `{}`}, {`{}`, `{"type":"x"}`}, {`{"$ref":"#"}`, `{}`}} {
		if _, err := validation.Compatible([]byte(c[0]), []byte(c[1])); err == nil {
			t.Errorf("%v accepted", c)
		}
	}
}

func ExampleCompatible() {
	before := []byte(`{"type":"object","required":["orderId","total"],"properties":{"orderId":{"type":"string"},"total":{"type":"number"},"status":{"enum":["open","paid"]}}}`)
	after := []byte(`{"type":"object","required":["orderId","currency"],"properties":{"orderId":{"type":"string"},"total":{"type":"number"},"currency":{"type":"string"},"status":{"enum":["open","paid","lost"]}}}`)
	breaks, err := validation.Compatible(before, after)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, b := range breaks {
		fmt.Println(b.Reader, "break", b)
	}
	// Output:
	// old consumers break at body: new events may lack "total", which old consumers need (required)
	// old consumers break at /status: new events may have "lost" here, which old consumers do not know (enum)
	// new consumers break at body: old events may lack "currency", which new consumers need (required)
}
