package gateway

import "time"

// RecheckCertificate sets how long a certificate is used before its file is
// looked at again. It must be called before Run.
func (g *Gateway) RecheckCertificate(d time.Duration) { g.certificate.recheck = d }

// Close frees the address of a gateway that was never run.
func (g *Gateway) Close() { _ = g.listener.Close() }

// ValidTrace is validTrace.
var ValidTrace = validTrace
