package main

import (
	"context"
	"encoding/json"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/router"
)

// Metrics counts what the service handled.
type Metrics struct {
	processed, failed atomic.Int64
}

// count is a middleware of our own: ten lines, Watermill's type.
func (m *Metrics) count(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		produced, err := next(msg)
		if err != nil {
			m.failed.Add(1)
		} else {
			m.processed.Add(1)
		}
		return produced, err
	}
}

// Handler serves /users/{id}, /health, /live and /metrics. ping asks the
// transport's server whether it is there.
func (s *Service) Handler(ping func(context.Context) error) (http.Handler, error) {
	health, err := s.router.Health(router.HealthConfig{
		MaxStall: time.Minute, // Three attempts at a handler take a few seconds.
		Checks:   map[string]func(context.Context) error{"transport": ping},
	})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /users/{id}", s.showUser)
	mux.HandleFunc("GET /live", health.ServeLive) // whether to restart; /health says whether to send requests
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, req *http.Request) {
		consumer := health.Ready(req.Context())
		answer := map[string]any{
			"status":    "unhealthy", // The consumer's report says why.
			"consumer":  consumer,
			"publisher": s.related.MemoryStats(),
			"views":     s.views.MemoryStats(),
		}
		if consumer.OK {
			answer["status"], answer["transport"] = "healthy", "connected"
		}
		s.writeJSON(w, consumer.StatusCode(), answer)
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		processed, failed := s.metrics.processed.Load(), s.metrics.failed.Load()
		rate := 1.0
		if total := processed + failed; total > 0 {
			rate = float64(processed) / float64(total)
		}
		s.writeJSON(w, http.StatusOK, map[string]any{
			"processedEvents":       processed,
			"failedProcessing":      failed,
			"processingSuccessRate": rate,
		})
	})
	return mux, nil
}

func (s *Service) showUser(w http.ResponseWriter, req *http.Request) {
	id := req.PathValue("id")
	user, ok := s.User(id)
	if !ok {
		s.writeJSON(w, http.StatusNotFound, map[string]any{"error": errUserNotFound.Error()})
		return
	}
	s.viewed(req.Context(), id)
	s.writeJSON(w, http.StatusOK, user)
}

func (s *Service) writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		s.cfg.Logger.Warn("write response", "error", err)
	}
}
