package vrrp

// advertise sends one advert, and reports whether it could: without a source address there is none.
func (r *Router) advertise(priority uint8) bool {
	if !r.source.Is4() {
		return false
	}
	r.id++
	if r.id == 0 {
		r.id = 1 // 0 makes the kernel choose one
	}
	advert := Advert{
		Source: r.source, Dest: GroupIPv4, TTL: ttlOnLink, ID: r.id,
		VRID: r.cfg.VRID, Priority: priority, AuthType: r.cfg.AuthType, AdvertInt: r.cfg.AdvertInt,
		VIPs: r.vips, AuthData: r.password,
	}
	packet := make([]byte, 0, ipv4Len+headerLen+4*len(r.vips)+authLen)
	r.emit(Send{Instance: r.cfg.Name, Packet: advert.AppendIPv4(packet), To: GroupIPv4})
	r.counters.Sent++
	if priority == 0 {
		r.counters.PriorityZeroSent++
	}
	return true
}

// assume asks for the addresses, also when they should be there: a lost one comes back.
func (r *Router) assume() {
	r.detail("setting VIPs.")
	if len(r.cfg.Excluded) > 0 {
		r.detail("setting E-VIPs.")
	}
	r.holding = true
	r.emit(AddAddresses{Instance: r.cfg.Name})
}

// withdraw asks for the addresses to go.
func (r *Router) withdraw() {
	r.detail("removing VIPs.")
	if len(r.cfg.Excluded) > 0 {
		r.detail("removing E-VIPs.")
	}
	r.holding = false
	r.emit(RemoveAddresses{Instance: r.cfg.Name})
}

// announce sends repeat rounds and says it line by line as keepalived does: the first round names the instance.
func (r *Router) announce(repeat int) {
	if repeat <= 0 {
		return
	}
	r.emit(Announce{Instance: r.cfg.Name, Repeat: repeat})
	for round := range repeat {
		for _, list := range [][]Address{r.cfg.VIPs, r.cfg.Excluded} {
			for _, vip := range list {
				r.sayAnnounce(vip, round == 0)
			}
		}
	}
}

func (r *Router) sayAnnounce(vip Address, first bool) {
	dev, addr := vip.Dev, vip.Prefix.Addr()
	if dev == "" {
		dev = r.cfg.Interface
	}
	queueing, sending := "Sending/queueing gratuitous ARPs", "Sending gratuitous ARP"
	if addr.Is6() {
		queueing, sending = "Sending/queueing Unsolicited Neighbour Adverts", "Sending unsolicited Neighbour Advert"
	}
	where := " on " + dev + " for " + addr.String()
	if first {
		r.detail("%s%s", queueing, where)
	}
	r.emit(Say{Instance: r.cfg.Name, Text: sending + where, Detail: true})
}
