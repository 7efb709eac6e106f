package validation

import (
	"encoding/json"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/logistically/events"
)

// Service is what [Registry.AsyncAPI] describes: who it is, what it publishes
// where, and what it handles.
type Service struct {
	Title       string // required
	Version     string // of the service. Empty means "1.0.0".
	Description string
	Sends       []Traffic
	Receives    []Traffic
}

// Traffic is events of some types on a topic.
type Traffic struct {
	// Pattern is an event type, or a pattern as package router's handlers and
	// routes have it: * stands for one segment, ** at the end for one or more. A
	// pattern with wildcards stands for those types of the registry that match.
	Pattern string
	// Topic is where they travel. Empty means events.DefaultTopic.
	Topic string
}

// AsyncAPI returns an AsyncAPI 3.0.0 document, as JSON, of a service whose events
// are described by the registry. Topics are its channels; for each of them there
// is an operation that sends and one that receives, as far as the service does.
// The same service makes the same document.
//
// Schemas are written as AsyncAPI's Schema Objects, a superset of draft-07; what
// later drafts add to that is passed on as it is. Functions do not appear. A
// *events.ConfigError says what is missing.
func (r *Registry) AsyncAPI(s Service) ([]byte, error) {
	if s.Title == "" {
		return nil, &events.ConfigError{Field: "validation.Service.Title", Value: s.Title, Problem: "is empty", Remedy: "set it to the name of the service"}
	}
	if s.Version == "" {
		s.Version = "1.0.0"
	}
	info := map[string]any{"title": s.Title, "version": s.Version}
	if s.Description != "" {
		info["description"] = s.Description
	}
	a := asyncAPI{registry: r, channels: map[string]any{}, operations: map[string]any{}, messages: map[string]any{}, schemas: map[string]any{}, keys: map[[2]any]string{}, taken: map[string]bool{}}
	for _, direction := range []struct {
		action string
		list   []Traffic
	}{{"send", s.Sends}, {"receive", s.Receives}} {
		for i, t := range direction.list {
			if err := a.traffic(direction.action, i, t); err != nil {
				return nil, err
			}
		}
	}
	return json.MarshalIndent(map[string]any{
		"asyncapi": "3.0.0", "info": info, "defaultContentType": "application/json",
		"channels": a.channels, "operations": a.operations,
		"components": map[string]any{"messages": a.messages, "schemas": a.schemas},
	}, "", "  ")
}

// asyncAPI gathers the parts of a document.
type asyncAPI struct {
	registry                                *Registry
	channels, operations, messages, schemas map[string]any
	keys                                    map[[2]any]string // of what has a key already
	taken                                   map[string]bool
}

func (a *asyncAPI) traffic(action string, i int, t Traffic) error {
	types := []string{t.Pattern}
	if strings.Contains(t.Pattern, "*") {
		types = slices.DeleteFunc(a.registry.Types(), func(eventType string) bool {
			return !matches(strings.Split(t.Pattern, "."), strings.Split(eventType, "."))
		})
		if len(types) == 0 {
			return &events.ConfigError{Field: "validation.Service " + action + " " + strconv.Itoa(i), Value: t.Pattern, Problem: "matches no type of the registry", Remedy: "add schemas first, or name the event type"}
		}
	} else if err := events.CheckType(t.Pattern); err != nil {
		return err
	}
	for _, eventType := range types {
		topic := t.Topic
		if topic == "" {
			topic = events.DefaultTopic(eventType)
		}
		a.use(action, topic, eventType)
	}
	return nil
}

// matches reports whether a pattern matches an event type, segment by segment.
func matches(pattern, eventType []string) bool {
	for i, p := range pattern {
		if p == "**" && i == len(pattern)-1 {
			return len(eventType) > i
		}
		if i >= len(eventType) || p != "*" && p != eventType[i] {
			return false
		}
	}
	return len(pattern) == len(eventType)
}

// use says that events of a type are sent to or received from a topic.
func (a *asyncAPI) use(action, topic, eventType string) {
	id := a.key("channel", topic, topic)
	name := a.message(eventType)
	known, ok := a.channels[id].(map[string]any)
	if !ok {
		known = map[string]any{"address": topic, "messages": map[string]any{}}
		a.channels[id] = known
	}
	if messages, ok := known["messages"].(map[string]any); ok {
		messages[name] = reference("components", "messages", name)
	}
	operation, ok := a.operations[action+"-"+id].(map[string]any)
	if !ok {
		operation = map[string]any{"action": action, "channel": reference("channels", id), "messages": []map[string]any{}}
		a.operations[action+"-"+id] = operation
	}
	link := reference("channels", id, "messages", name)
	list, _ := operation["messages"].([]map[string]any)
	if !slices.ContainsFunc(list, func(have map[string]any) bool { return have["$ref"] == link["$ref"] }) {
		operation["messages"] = append(list, link)
	}
}

// message adds the message of an event type and returns its key.
func (a *asyncAPI) message(eventType string) string {
	key := a.key("message", eventType, eventType)
	if a.messages[key] != nil {
		return key
	}
	m := map[string]any{
		"name": eventType, "contentType": "application/json",
		"correlationId": map[string]any{"location": "$message.header#/" + events.MetadataCorrelationID},
	}
	a.messages[key] = m
	c := a.registry.lookup(eventType)
	if c == nil {
		return key
	}
	var payloads []map[string]any
	for _, s := range c.schemas {
		path, _ := strings.CutPrefix(s.pointer, "#")
		payloads = append(payloads, map[string]any{"$ref": refTo("components", "schemas", a.document(s.texts, s.location)) + path})
	}
	switch len(payloads) {
	case 0:
	case 1:
		m["payload"] = payloads[0]
	default:
		m["payload"] = map[string]any{"allOf": payloads}
	}
	return key
}

// document adds a schema document, and those that it refers to, and returns its key.
func (a *asyncAPI) document(texts documents, location string) string {
	text := texts[location]
	key := a.key("schema", text, text.name)
	if _, ok := a.schemas[key]; ok {
		return key
	}
	doc, _ := decode(text.text) // It was decoded before.
	a.schemas[key] = true       // A reference back to it ends here.
	moved := a.move(doc.value, texts, location)
	if object, ok := moved.(map[string]any); ok {
		for _, keyword := range []string{"$schema", "$id", "id"} { // It is part of another document now.
			if _, ok := object[keyword].(string); ok {
				delete(object, keyword)
			}
		}
	}
	a.schemas[key] = moved
	return key
}

// move copies a part of a schema document, with references into where it will be.
func (a *asyncAPI) move(value any, texts documents, location string) any {
	switch v := value.(type) {
	case map[string]any:
		moved := make(map[string]any, len(v))
		for _, name := range slices.Sorted(maps.Keys(v)) {
			moved[name] = a.move(v[name], texts, location)
			if ref, ok := v[name].(string); ok && name == "$ref" {
				moved[name] = a.moveRef(ref, texts, location)
			}
		}
		moveBounds(moved)
		return moved
	case []any:
		moved := make([]any, len(v))
		for i, inner := range v {
			moved[i] = a.move(inner, texts, location)
		}
		return moved
	}
	return value
}

// moveRef returns what a reference of the document at location becomes. One to
// a document that is not there stays as it is.
func (a *asyncAPI) moveRef(ref string, texts documents, location string) string {
	target, path, _ := strings.Cut(ref, "#")
	if target != "" {
		base, err := url.Parse(location)
		if err != nil {
			return ref
		}
		relative, err := url.Parse(target)
		if err != nil {
			return ref
		}
		location = base.ResolveReference(relative).String()
	}
	if texts[location] == nil || path != "" && path[0] != '/' {
		return ref
	}
	return refTo("components", "schemas", a.document(texts, location)) + path
}

// moveBounds writes draft 4's exclusive limits as later drafts do.
func moveBounds(schema map[string]any) {
	for _, b := range [][2]string{{"minimum", "exclusiveMinimum"}, {"maximum", "exclusiveMaximum"}} {
		exclusive, ok := schema[b[1]].(bool)
		if !ok {
			continue
		}
		delete(schema, b[1])
		if limit, ok := schema[b[0]]; ok && exclusive {
			delete(schema, b[0])
			schema[b[1]] = limit
		}
	}
}

// key returns the key of a thing of some kind: its name, with what a key may not
// have replaced, and a number if another thing of the kind has that key.
func (a *asyncAPI) key(kind string, thing any, name string) string {
	if key, ok := a.keys[[2]any{kind, thing}]; ok {
		return key
	}
	base := notInKey.ReplaceAllString(name, "_")
	key := base
	for n := 2; a.taken[kind+" "+key]; n++ {
		key = base + "-" + strconv.Itoa(n)
	}
	a.keys[[2]any{kind, thing}], a.taken[kind+" "+key] = key, true
	return key
}

var notInKey = regexp.MustCompile(`[^A-Za-z0-9._-]`)

func reference(path ...string) map[string]any { return map[string]any{"$ref": refTo(path...)} }

func refTo(path ...string) string { return "#" + pointer(path) }
