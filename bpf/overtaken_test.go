package bpf

import (
	"testing"
)

// Events of TCP, as packet.h numbers them.
const (
	eventSYN = 1
	eventACK = 3
)

// overtaken sends a packet of a connection that lb has not found, but that is there when the packet's own road looks: another CPU has
// made it meanwhile. The packet before it was the one that made it.
func (r *rig) overtaken(f frame, event uint32) (out []byte, why LbReason) {
	r.Helper()
	read := make([]LbPacket, cpus())
	if err := r.Packets.Lookup(uint32(0), &read); err != nil {
		r.Fatal(err)
	}
	for i := range read {
		read[i].Known, read[i].Event, read[i].Tick = 1, event, r.tick()
		read[i].Real, read[i].Service, read[i].Parent = 0, 0, 0
	}
	r.put(r.Packets, 0, read)
	_, out, why = r.runBy(r.Road4, f.bytes())
	return out, why
}

// TestAnotherCPUWasFaster: two packets that both find no connection make one, to which the later one belongs.
func TestAnotherCPUWasFaster(t *testing.T) {
	for _, row := range []struct {
		name   string
		flags  uint8
		event  uint32
		before int // the state that the connection has meanwhile
		gone   bool
		due    bool
		why    LbReason
		after  int
	}{
		{"the same SYN", syn, eventSYN, synRecv, false, false, LbReasonFORWARD_HIT, synRecv},
		{"a SYN of one that is closed", syn, eventSYN, timeWait, false, false, LbReasonFORWARD_NEW, synRecv},
		{"a SYN of one whose time has come", syn, eventSYN, established, false, true, LbReasonFORWARD_NEW, synRecv},
		{"a SYN of one whose real server was removed", syn, eventSYN, synRecv, true, false, LbReasonFORWARD_NEW, synRecv},
		{"an ACK that may begin one", ack, eventACK, synRecv, false, false, LbReasonFORWARD_HIT, established},
		{"an ACK of one that is closed", ack, eventACK, timeWait, false, false, LbReasonFORWARD_HIT, timeWait},
		{"an ACK of one whose real server was removed", ack, eventACK, synRecv, true, false, LbReasonDROP_REAL_GONE, synRecv},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := stillRig(t, 4)
			s := r.serve(vip, tcpProto, LbSchedulerSCHED_RR)
			s.add(1)
			s.add(1)
			r.tune(func(t *LbTunables) { t.SloppyTcp = 1 })
			r.want(frame{flags: syn}, LbReasonFORWARD_NEW)
			made := r.conn()
			r.edit(made, func(c *LbConn) {
				c.Life = c.Life&^0xff00 | uint64(row.before)<<8
				if row.due {
					c.Expires = r.tick()
				}
			})
			if row.gone {
				s.remove(made.Real)
			}
			r.advance(1)
			out, why := r.overtaken(frame{flags: row.flags}, row.event)
			now := r.conn()
			if why != row.why || now.state() != row.after {
				t.Fatalf("%s, then %s", why.name(), stateNames[now.state()])
			}
			anew := why == LbReasonFORWARD_NEW
			if anew != (now.Real != made.Real) || anew != (now.Life>>32 != made.Life>>32) {
				t.Errorf("%+v\nwas %+v", now, made)
			}
			if forwardsWhy(why) && mac(out[:6]) != realMAC(int(now.Real)) {
				t.Errorf("it went to % x", out[:6])
			}
			if why == LbReasonFORWARD_HIT && (now.Packets != made.Packets+1 || r.secondsLeft(now) != int(ipvsTimeouts().Tcp[row.after])/ticksPerSecond) {
				t.Errorf("%+v, of %d s", now, r.secondsLeft(now))
			}
			if n := r.counts(1)[0] + r.counts(1)[1] + r.counts(2)[0] + r.counts(2)[1]; n != 1 {
				t.Errorf("%d connections are counted", n)
			}
		})
	}
}

// TestWhatIsRefusedEndsNothingThatLives: another CPU has made its connection meanwhile, or moved it.
func TestWhatIsRefusedEndsNothingThatLives(t *testing.T) {
	for _, row := range []struct {
		name   string
		flags  uint8
		event  uint32
		before int
		tune   func(*LbTunables)
		why    LbReason
	}{
		{"a SYN that drop_packet drops", syn, eventSYN, synRecv, func(t *LbTunables) { t.DropRate = 1 }, LbReasonDROP_DEFENCE},
		{"an ACK that begins none, of one that is closed", ack, eventACK, timeWait, func(*LbTunables) {}, LbReasonPASS_NO_CONNECTION},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := stillRig(t, 4)
			r.serve(vip, tcpProto, LbSchedulerSCHED_RR).add(1)
			r.want(frame{flags: syn}, LbReasonFORWARD_NEW)
			r.edit(r.conn(), func(c *LbConn) { c.Life = c.Life&^0xff00 | uint64(row.before)<<8 })
			made := r.conn()
			r.tune(row.tune)
			if _, why := r.overtaken(frame{flags: row.flags}, row.event); why != row.why {
				t.Fatal(why.name())
			}
			if now := r.conn(); now != made {
				t.Errorf("%+v\nwas %+v", now, made)
			}
		})
	}
}
