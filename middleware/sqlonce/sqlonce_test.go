package sqlonce

import (
	"errors"
	"slices"
	"testing"

	"github.com/logistically/events"
)

// The behaviour is tested on SQLite in internal/integration, so that a driver is no
// dependency of this module. This is the SQL that the dialects get.
func TestTheSQLOfEachDialect(t *testing.T) {
	for dialect, want := range map[Dialect][]string{
		Postgres: {
			"CREATE TABLE IF NOT EXISTS app.marks (scope VARCHAR(255) NOT NULL, event_key VARCHAR(512) NOT NULL, fingerprint VARCHAR(64) NOT NULL, produced BYTEA, marked_at BIGINT NOT NULL, PRIMARY KEY (scope, event_key))",
			"INSERT INTO app.marks (scope, event_key, fingerprint, marked_at) VALUES ($1, $2, $3, CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)) ON CONFLICT (scope, event_key) DO NOTHING",
			"SELECT fingerprint, produced FROM app.marks WHERE scope = $1 AND event_key = $2",
			"UPDATE app.marks SET produced = $1 WHERE scope = $2 AND event_key = $3",
			"DELETE FROM app.marks WHERE scope = $1 AND marked_at < CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT) - $2",
		},
		SQLite: {
			"CREATE TABLE IF NOT EXISTS app.marks (scope VARCHAR(255) NOT NULL, event_key VARCHAR(512) NOT NULL, fingerprint VARCHAR(64) NOT NULL, produced BLOB, marked_at BIGINT NOT NULL, PRIMARY KEY (scope, event_key))",
			"INSERT INTO app.marks (scope, event_key, fingerprint, marked_at) VALUES (?, ?, ?, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)) ON CONFLICT (scope, event_key) DO NOTHING",
			"SELECT fingerprint, produced FROM app.marks WHERE scope = ? AND event_key = ?",
			"UPDATE app.marks SET produced = ? WHERE scope = ? AND event_key = ?",
			"DELETE FROM app.marks WHERE scope = ? AND marked_at < CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) - ?",
		},
	} {
		m, err := New(Config{Dialect: dialect, Table: "app.marks", Scope: "s"})
		if err != nil {
			t.Fatal(err)
		}
		if got := append(m.Schema(), m.insert, m.read, m.update, m.remove); !slices.Equal(got, want) {
			t.Errorf("%s:\n%q\nwant\n%q", dialect, got, want)
		}
	}
}

func TestConfigurationsThatAreNoneAreRefused(t *testing.T) {
	for field, cfg := range map[string]Config{
		"sqlonce.Config.Dialect": {Scope: "s"},
		"sqlonce.Config.Scope":   {Dialect: SQLite},
		"sqlonce.Config.Table":   {Dialect: SQLite, Scope: "s", Table: "a b"},
	} {
		_, err := New(cfg)
		if refused, ok := errors.AsType[*events.ConfigError](err); !ok || refused.Field != field {
			t.Errorf("%s: got %v", field, err)
		}
	}
}
