package cli

import (
	"strings"
	"unicode"
)

// keywordOfField is how the configuration calls a field of the types that a plan compares. What is not here is called by
// its Go name in small letters.
var keywordOfField = map[string]string{"Classes": "fwmark_class", "Sysctls": "lvs_sysctl",
	"VRID": "virtual_router_id", "AdvertInt": "advert_int", "InitialMaster": "state", "NoPreempt": "nopreempt", "AuthType": "auth_type",
	"AuthPass": "auth_pass", "Source": "mcast_src_ip", "Name": "name", "GarpMasterDelay": "garp_master_delay",
	"GarpRefreshRepeat": "garp_master_refresh_repeat", "HigherPrioSendAdv": "higher_prio_send_advert",
	"Scheduler": "lb_algo", "Persistence": "persistence_timeout", "MaskBits": "persistence_granularity", "OnePacket": "ops",
	"Flags": "lb_algo flags", "Engine": "persistence_engine", "Forward": "lvs_method", "Upper": "uthreshold", "Lower": "lthreshold",
	"Segment": "mss_clamp", "Locals": "fullnat", "Proxy": "send_proxy_v2", "Telling": "sync", "CarryOn": "carry_on", "Peering": "connection_sync", "Sorry": "sorry_server", "Checkers": "checks",
}

func keywordNamed(field string) string {
	if k, ok := keywordOfField[field]; ok {
		return k
	}
	var b strings.Builder
	runes := []rune(field)
	for i, r := range runes {
		if unicode.IsUpper(r) && i > 0 && (unicode.IsLower(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
