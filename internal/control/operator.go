package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"vipd/internal/lb"
)

// Operator takes what people set for a real server over what the file and the checks say. Its method is called from
// several goroutines at once.
type Operator interface {
	// Operate does one order. By whom it is stands in the context: Caller.
	Operate(ctx context.Context, o Order) Outcome
}

// The verbs of an Order.
const (
	OrderDrain   = "drain"   // weight 0: connections go on, no new ones come
	OrderDisable = "disable" // out of the pool
	OrderWeight  = "weight"  // another weight than the file's
	OrderReady   = "ready"   // file and checks count again
)

// Order is one verb for one real server of one service, by their keys as Status has them.
type Order struct {
	Do      string
	Service lb.ServiceKey
	Real    netip.AddrPort
	Weight  int32 // of weight
	Percent int32 // of weight, instead: hundredths of what file and checks say. If zero, Weight counts.
}

// Hand is what an operator has set for a real server.
type Hand struct {
	Do      string    `json:"do"` // drain, disable or weight
	Weight  int32     `json:"weight"`
	Percent int32     `json:"percent,omitempty"`
	Since   time.Time `json:"since"`
	By      string    `json:"by,omitempty"`
}

func (h Hand) String() string {
	switch {
	case h.Do != OrderWeight:
		return h.Do
	case h.Percent != 0:
		return fmt.Sprintf("weight %d%%", h.Percent)
	}
	return fmt.Sprintf("weight %d", h.Weight)
}

// Held is a hand whose real server is not configured: it waits until it is.
type Held struct {
	Service string `json:"service"`
	Real    string `json:"real"`
	Hand
}

// orderJSON is an Order on the wire.
type orderJSON struct {
	Do       string     `json:"do"`
	Protocol string     `json:"protocol,omitempty"` // tcp, udp, sctp; none with fwmark
	Address  netip.Addr `json:"address,omitzero"`
	Port     uint16     `json:"port,omitempty"`
	Fwmark   uint32     `json:"fwmark,omitempty"`
	IPv6     bool       `json:"ipv6,omitempty"` // family of a fwmark service
	Real     string     `json:"real"`           // ADDRESS:PORT
	Weight   int32      `json:"weight,omitempty"`
	Percent  int32      `json:"percent,omitempty"`
}

// MarshalJSON writes orderJSON.
func (o Order) MarshalJSON() ([]byte, error) {
	j := orderJSON{Do: o.Do, Fwmark: o.Service.Mark, IPv6: o.Service.V6, Real: o.Real.String(), Weight: o.Weight, Percent: o.Percent}
	if o.Service.Mark == 0 {
		j.Protocol, j.Address, j.Port = nameOf(protocols, uint8(o.Service.Protocol)), o.Service.Addr.Addr(), o.Service.Addr.Port()
	}
	return json.Marshal(j)
}

// UnmarshalJSON reads what MarshalJSON writes and refuses what is no order.
func (o *Order) UnmarshalJSON(b []byte) (err error) {
	var j orderJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	*o = Order{Do: j.Do, Weight: j.Weight, Percent: j.Percent}
	if o.Real, err = netip.ParseAddrPort(j.Real); err != nil {
		return fmt.Errorf("real %.60q: want ADDRESS:PORT", j.Real)
	}
	if o.Service.Mark, o.Service.V6 = j.Fwmark, j.IPv6; j.Fwmark == 0 {
		p, err := numberOf(protocols, j.Protocol)
		if err != nil || !j.Address.IsValid() {
			return errors.New("service: want protocol, address and port, or fwmark")
		}
		o.Service = lb.ServiceKey{Protocol: lb.Protocol(p), Addr: netip.AddrPortFrom(j.Address, j.Port)}
	}
	switch o.Do {
	case OrderDrain, OrderDisable, OrderReady:
		if o.Weight != 0 || o.Percent != 0 {
			return fmt.Errorf("%s takes no weight", o.Do)
		}
	case OrderWeight:
		if o.Weight < 0 || o.Weight > 65535 || o.Percent < 0 || o.Percent > 1000 || o.Weight != 0 && o.Percent != 0 {
			return errors.New("weight: want 0 to 65535, or a percent of 1 to 1000")
		}
	default:
		return fmt.Errorf("do %.20q: want drain, disable, weight or ready", o.Do)
	}
	return nil
}

// maxOrder bounds what is read of an order.
const maxOrder = 4 << 10

// serveOperator adds the operator's verbs to the socket of people with permission.
func serveOperator(mux *http.ServeMux, op Operator) {
	mux.HandleFunc("POST /v1/operator", func(w http.ResponseWriter, r *http.Request) {
		var o Order
		b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxOrder))
		if err == nil {
			err = json.Unmarshal(b, &o)
		}
		if err != nil {
			http.Error(w, "order: "+err.Error(), http.StatusBadRequest)
			return
		}
		answer(w, op.Operate(r.Context(), o), nil)
	})
}

// Operate gives the daemon an order. The error is about reaching the daemon; what came of it is the Outcome.
func (c *Client) Operate(ctx context.Context, o Order) (out Outcome, err error) {
	b, err := json.Marshal(o)
	if err != nil {
		return out, err
	}
	body, err := c.do(ctx, http.MethodPost, "/v1/operator", strings.NewReader(string(b)))
	if err != nil {
		return out, err
	}
	defer body.Close()
	return out, readAnswer(body, maxOutcome, &out)
}
